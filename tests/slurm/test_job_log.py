"""Ends of jobs read from logs as SLURM 22.05 and submitit 1.5 wrote them."""

from pathlib import Path

import pytest

from slurm.job_log import TAIL, last_words
from slurm.sacct import Booked

START = (
    "submitit INFO (2026-11-30 08:39:02,270) - Starting with JobEnvironment(job_id=7_0, hostname=n{}, local_rank=0(1),"
    " node=0(1), global_rank=0(1))\nsubmitit INFO (2026-11-30 08:39:02,270) - Loading pickle: /x/7_0_submitted.pkl\n"
)
DONE = "submitit INFO (2026-11-30 08:39:03,368) - Job completed successfully\nsubmitit INFO (...) - Exiting after\n"
ERROR = "submitit ERROR (2026-11-30 08:39:03,267) - Submitted job triggered an exception\nTraceback (most recent call\n"
KILLED = "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-30T08:39:12{} ***\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START.format(1) + DONE, Booked("COMPLETED", None, "n1")),
        (START.format(1) + ERROR, Booked("FAILED", None, "n1")),
        (START.format(1) + "srun: error: n1: task 0: Exited with exit code 3\n", Booked("FAILED", None, "n1")),
        (START.format(1) + KILLED.format(""), Booked("CANCELLED", None, "n1")),
        (START.format(1) + KILLED.format(" DUE TO TIME LIMIT"), Booked("TIMEOUT", None, "n1")),
        (
            START.format(1) + KILLED.format(" DUE TO PREEMPTION") + START.format(2) + DONE,
            Booked("COMPLETED", None, "n2"),
        ),
        (START.format(1) + KILLED.format(" DUE TO PREEMPTION") + START.format(2), None),
        (START.format(1) + "loss 0.1\n" * 10_000 + DONE, Booked("COMPLETED", None, "")),
        ("bash: module: command not found\n", None),
        (START.format(1) + "my own words: CANCELLED AT noon, Job completed successfully\n", None),
    ],
)
def test_last_words(tmp_path: Path, text: str, expected: Booked | None) -> None:
    (tmp_path / "log").write_text(text)
    assert last_words(tmp_path / "log") == expected


def test_no_log_or_one_cut_in_a_letter(tmp_path: Path) -> None:
    assert last_words(tmp_path / "log") is None
    (tmp_path / "log").write_text("é" * TAIL + "x\n" + DONE)
    assert last_words(tmp_path / "log") == Booked("COMPLETED", None, "")
