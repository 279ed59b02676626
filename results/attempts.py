"""Attempts at a cell: who works on it or did, since when, and what became of it. Never a number: that is a record's."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Cause = Literal[
    "done", "error", "diverged", "out of memory", "time limit", "preempted", "stopped", "cancelled", "killed",
    "node lost", "input/output", "lost", "changed",
]  # fmt: skip
"""Why an attempt ended. ``stopped``: it heard a signal and kept its checkpoint; ``killed``: the process died without a
word; ``lost``: nothing was heard of it for the lease; ``changed``: the cell is no longer what was submitted."""

WAITED: frozenset[Cause] = frozenset({"preempted", "stopped", "time limit", "cancelled"})
"""Ends that are nobody's fault and lose no work: they count towards no limit."""

FINAL: frozenset[Cause] = frozenset({"error", "diverged", "changed"})
"""Ends that the next attempt would share: no launcher tries again by itself."""


class Attempt(BaseModel):
    """One attempt. Times are UTC, ISO 8601; ``log`` is a path, ``tail`` its last lines; ``cause`` None: it goes on.

    ``machine`` tells kernels apart (not host names, which containers share), ``job`` is a scheduler's.
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
    log: str = ""
    ended: str | None = None
    cause: Cause | None = None
    message: str = ""
    exit_code: int | None = None
    tail: str = ""
