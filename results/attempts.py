"""Attempts at a cell: who works on it or did, since when, and what became of it. Never a number: that is a record's.

KEY/000001.json     the first attempt, and so on; the last is the holder's while it has no end
"""

import getpass
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Cause = Literal[
    "done", "error", "diverged", "out of memory", "time limit", "preempted", "stopped", "cancelled", "killed",
    "node lost", "input/output", "lost", "changed",
]  # fmt: skip
"""Why an attempt ended. ``stopped``: it heard a signal and kept its checkpoint; ``killed``: the process died without a
word; ``lost``: nothing was heard of it for the lease; ``changed``: the cell is no longer what was submitted."""

WAITED: frozenset[Cause] = frozenset({"preempted", "stopped", "time limit", "cancelled"})
"""Ends that are nobody's fault and lose no work."""

FINAL: frozenset[Cause] = frozenset({"error", "diverged", "changed"})
"""Ends that the next attempt would share: no launcher tries again by itself."""

SPENT: frozenset[Cause] = frozenset({"killed", "lost", "node lost", "out of memory", "input/output"})
"""Ends that the next attempt need not share. Where so many of them say that it does, :func:`spent` has it."""

ATTEMPTS = 3
"""That launchers give a cell, by :data:`LIMIT` in the environment of their jobs."""

WAITS = 10
"""How often a cell may be stopped without having come further."""

LIMIT = "BOB_ATTEMPT_LIMIT"

_NAME = re.compile(r"(\d{6})\.json")


class Attempt(BaseModel):
    """One attempt. Times are UTC, ISO 8601; ``log`` is a path, ``tail`` its last lines; ``cause`` None: it goes on.

    ``machine`` tells kernels apart (not host names, which containers share) and is empty where files cannot be locked;
    ``job`` is a scheduler's. ``reached`` stands for the checkpoints it began from. ``forgiven``: it counts no longer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    number: int
    token: str
    started: str
    node: str
    machine: str
    pid: int
    user: str = ""
    job: str = ""
    restart: int = 0
    reached: str = ""
    log: str = ""
    ended: str | None = None
    cause: Cause | None = None
    message: str = ""
    exit_code: int | None = None
    tail: str = ""
    forgiven: bool = False

    def ended_by(self, cause: Cause, message: str = "", exit_code: int | None = None, tail: str = "") -> "Attempt":
        """The same attempt, ended now."""
        end = {"ended": _now(), "cause": cause, "message": message, "exit_code": exit_code, "tail": tail}
        return self.model_copy(update=end)

    def end(self) -> str:
        """How it ended, in a line.

        >>> dead = Attempt(key="a" * 32, number=2, token="", started="", node="node1", machine="", pid=7)
        >>> dead.ended_by("killed", "signal 9", exit_code=-9).end()
        'attempt 2 on node1: killed, exit code -9: signal 9'
        """
        code = "" if self.exit_code is None else f", exit code {self.exit_code}"
        said = self.message or self.tail.strip().rpartition("\n")[2]
        return f"attempt {self.number} on {self.node}: {self.cause or 'goes on'}{code}{said and ': '}{said}"


def begun(key: str, number: int, machine: str, reached: str = "") -> Attempt:
    """An attempt of this process that begins now. Job, restart and log are what the environment says."""
    return Attempt(
        key=key,
        number=number,
        token=secrets.token_hex(8),
        started=_now(),
        node=this_node(),
        machine=machine,
        pid=os.getpid(),
        user=_user(),
        job=this_job(),
        restart=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        log=os.environ.get("BOB_LOG", ""),
        reached=reached,
    )


def this_node() -> str:
    """What the scheduler calls this machine, else its host name."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def this_job() -> str:
    """The job that this process is of, as ``squeue`` names it; empty outside of one."""
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{job}_{task}" if job and task else os.environ.get("SLURM_JOB_ID", "")


def spent(earlier: Sequence[Attempt], reached: str = "", environment: Mapping[str, str] = os.environ) -> list[Attempt]:
    """The attempts that used up a cell's limit; empty while it has one left, or where nobody asks for a limit.

    Only launchers ask (:data:`LIMIT`), whose jobs start again by themselves: a cell that kills its process would eat a
    cluster. A person who kills a run and starts it again, 50 times over, sees what happens and needs no limit.
    Attempts that began from other checkpoints than now do not count: a training of weeks comes further each time, whose
    nodes are lost or whose jobs are killed without a word, while one that kills its process dies at the same place.
    One that was stopped :data:`WAITS` times at the same place needs more time than its jobs have.
    """
    limit = environment.get(LIMIT)
    here = [each for each in earlier if not each.forgiven and each.reached == reached]
    counted, waited = ([each for each in here if each.cause in causes] for causes in (SPENT, WAITED))
    if limit and len(counted) >= int(limit):
        return counted
    return waited if limit and len(waited) >= WAITS else []


class Traces:
    """Attempts as files, a folder a key. Whoever claims makes them (``Claims``); here they are read, ended, removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str, number: int) -> Path:
        return self.folder / key / f"{number:06}.json"

    def numbers(self, key: str) -> list[int]:
        """Of the attempts there are, in order."""
        try:
            names = os.listdir(self.folder / key)
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)

    def read(self, key: str) -> list[Attempt]:
        """All attempts at a key, oldest first. Of one that a crash of its machine tore, only the number is known."""
        found = []
        for number in self.numbers(key):
            with suppress(FileNotFoundError):  # it ended well meanwhile
                found.append(_parsed(self.path(key, number).read_bytes(), key, number))
        return found

    def rewrite(self, attempt: Attempt) -> None:
        """Put another state of an attempt in its place, whole or not at all. Raises ``OSError``."""
        path = self.path(attempt.key, attempt.number)
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            temporary.write_text(attempt.model_dump_json(), encoding="utf-8")
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def remove(self, attempt: Attempt) -> None:
        """As if it had never been."""
        self.path(attempt.key, attempt.number).unlink(missing_ok=True)

    def tidy(self, key: str) -> None:
        """Remove the folder of a key where nothing is in it."""
        with suppress(OSError):
            (self.folder / key).rmdir()


def _parsed(data: bytes, key: str, number: int) -> Attempt:
    try:
        return Attempt.model_validate_json(data)
    except ValidationError:
        return Attempt(key=key, number=number, token="", started="", node="unknown", machine="", pid=0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may be in no list
        return str(os.getuid())
