"""Where what was found damaged is kept to look at: never used, never deleted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from results.shared import for_the_group

QUARANTINE = "quarantine"


@contextmanager
def moving_away(store: Path, name: str) -> Iterator[Path]:
    """The place to move something damaged to. Nobody else moves anything meanwhile: look at it again, then move it."""
    target = store / QUARANTINE / f"{name}-{time.time_ns()}"
    with for_the_group(store):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(store / "quarantine.lock", mode=0o664):
            yield target
