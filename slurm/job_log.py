"""How a job ended by the last lines of its log, where nothing else tells. SLURM and submitit write there too."""

import os
import re
from pathlib import Path

from slurm.sacct import Booked

TAIL = 16_384
_START = re.compile(r"^submitit INFO .*Starting with JobEnvironment\(.*?hostname=([^,)]*)", re.M)
_WORDS = (
    (re.compile(r"^slurmstepd\S*: error: .*CANCELLED AT .*DUE TO TIME LIMIT", re.M), "TIMEOUT"),
    (re.compile(r"^slurmstepd\S*: error: .*CANCELLED AT .*DUE TO PREEMPTION", re.M), "PREEMPTED"),
    (re.compile(r"^slurmstepd\S*: error: .*CANCELLED AT .*DUE TO NODE.* FAILURE", re.M), "NODE_FAIL"),
    (re.compile(r"^slurmstepd\S*: error: .*oom.kill", re.M | re.I), "OUT_OF_MEMORY"),
    (re.compile(r"^slurmstepd\S*: error: .*CANCELLED AT ", re.M), "CANCELLED"),
    (re.compile(r"^submitit INFO .*Job completed successfully$", re.M), "COMPLETED"),
    (re.compile(r"^submitit ERROR .*Submitted job triggered an exception$", re.M), "FAILED"),
    (re.compile(r"^srun: error: .*: tasks? .*: ", re.M), "FAILED"),
)


def last_words(log: Path) -> Booked | None:
    """Of the job's last start. None where the log does not say how it ended, or is not there."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    starts = list(_START.finditer(text))
    node = starts[-1][1] if starts else ""
    since = text[starts[-1].start() :] if starts else text
    return next((Booked(state, None, node) for pattern, state in _WORDS if pattern.search(since)), None)
