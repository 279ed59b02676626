"""How attempts at a cell end: by what cause, how far they had come, and when there have been enough."""

import errno
import hashlib
from collections.abc import Sequence
from pathlib import Path

from backbones.feature_checks import is_out_of_memory
from backbones.training.checkpoint import PLACES
from backbones.training.outcomes import Diverged, OutOfMemory
from results.attempts import WAITED, Attempt, Cause

TRANSIENT = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN}
)
"""Errors of a disk or of its network, which may be well when the cell is tried again."""


class LimitError(RuntimeError):
    """A cell that took its process with it too often."""

    def __init__(self, past: Sequence[Attempt]) -> None:
        self.cause = past[-1].cause or "killed"
        ends = "; ".join(each.end() for each in past[-3:])
        mend = "give its jobs more time" if self.cause in WAITED else "see their logs"
        super().__init__(
            f"not tried again after {len(past)} attempts without an outcome ({ends}): {mend}, then bob retry --failed"
        )


def cause_of(error: Exception) -> Cause:
    """What to call the end of an attempt that raised this."""
    if isinstance(error, LimitError):
        return error.cause
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, OutOfMemory) or is_out_of_memory(error):
        return "out of memory"
    return "input/output" if isinstance(error, OSError) and error.errno in TRANSIENT else "error"


def checkpoints_below(folder: Path) -> str:
    """A hash of where the trainings in a working folder have come to; empty where none has come to a checkpoint."""
    places = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(PLACES))
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:16] if places else ""
