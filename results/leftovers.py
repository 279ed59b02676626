"""What processes left behind that died: counted by looking alone, and removed where nobody alive holds it."""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from results.attempts import Attempt, Traces
from results.certificates import FOLDER as CERTIFICATES
from results.claims import LEASE_S, file_system_time
from results.foreign import FOREIGN
from results.shared import for_the_group
from results.store import RECORD, Store


def abandoned(path: Path, now: float) -> bool:
    """Whether nobody of this machine holds a file, and nobody at all has touched it for as long as claims last.

    ``now`` by the file system's clock.
    """
    try:
        with path.open("rb") as file:
            return not _held(file.fileno()) and now - os.fstat(file.fileno()).st_mtime > LEASE_S
    except OSError:
        return False


def leftovers(store: Path) -> Counter[str]:
    """How many of each kind there are, in words."""
    now = file_system_time(store)
    return Counter({
        "unfinished writes": sum(map(_is_unfinished, _inside(store / "writing"))),
        "working folders of done cells": sum(_is_idle(store, folder) for folder in _inside(store / "work")),
        "temporary files": sum(1 for _ in _temporary(store, now)),
        "claims of nothing": sum(_is_of_nothing(mark, now) for mark in _inside(store / "claims")),
        "attempts at done cells without an end": sum(1 for _ in _unended(store, now)),
    })  # fmt: skip


def clean(store: Path) -> Counter[str]:
    """Remove what nobody alive holds; how many of each kind that were."""
    before = leftovers(store)
    now = file_system_time(store)
    Store(store)  # which cleans as it opens
    with for_the_group(store):
        for path in _temporary(store, now):
            path.unlink(missing_ok=True)
        for attempt in _unended(store, now):
            Traces(store / "attempts").rewrite(attempt.ended_by("done"))
    return before - leftovers(store)


def _held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # where files cannot be locked, silence alone tells
        return False
    return False


def _is_unfinished(folder: Path) -> bool:
    try:
        with (folder / RECORD).open("rb") as file:
            return not _held(file.fileno())
    except OSError:
        return folder.is_dir()  # half removed; of a living writer for the blink before its first file


def _is_idle(store: Path, work: Path) -> bool:
    key = work.name.partition("-")[0]
    return (store / "cells" / key).exists() and not any((store / "claims").glob(f"{key}.*.json"))


def _is_of_nothing(mark: Path, now: float) -> bool:
    """A claim's file is an attempt's too, by another name; where it is not, its process died as it came or went."""
    with suppress(FileNotFoundError):
        return mark.suffix == ".json" and mark.stat().st_nlink == 1 and abandoned(mark, now)
    return False


def _temporary(store: Path, now: float) -> Iterator[Path]:
    folders = [store / CERTIFICATES, store / FOREIGN]
    for name in ("failures", "forgiven", "attempts"):
        folders += _inside(store / name)
    for folder in folders:
        yield from (path for path in _inside(folder) if path.name.startswith(".") and abandoned(path, now))


def _unended(store: Path, now: float) -> Iterator[Attempt]:
    """Attempts without an end whose cell is done, and whose holder is silent."""
    for folder in _inside(store / "attempts"):
        if not (store / "cells" / folder.name).exists():
            continue
        for path in _inside(folder):
            with suppress(OSError, ValueError):
                attempt = Attempt.model_validate_json(path.read_bytes())
                if attempt.cause is None and abandoned(path, now):
                    yield attempt


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
