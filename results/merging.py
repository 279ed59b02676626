"""Stores put together: what one holds is added to another after it was verified, and nothing there is ever replaced.

Every step is whole or absent, so that a merge that was interrupted is simply run again. Sources are only read.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from results.conflicts import conflicts, same_scores
from results.foreign import FOREIGN, keep, read_table
from results.inspection import Fault, read_failure, words_at
from results.record import DamageError, Record, SchemaError
from results.store import Store, keys_in, verified


@dataclass
class Merged:
    """``counts`` of what was added or was there already; what was left out, and why."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: list[Fault] = field(default_factory=list)


def merge(source: Path, target: Store, tell: Callable[[int, int], None] = lambda done, total: None) -> Merged:
    """Add records with their files, failures and foreign tables of ``source`` to ``target``; ``tell`` hears how far.

    The same answer is kept once. Another answer to a key is kept beside the first. Raises ``ValueError`` where source
    is no store or the target itself, ``OSError`` where something cannot be written.
    """
    _check(source, target)
    merged, answers = Merged(), list(_answers(source))
    for done, (key, folder) in enumerate(answers, start=1):
        try:
            _add(_whole(folder, key), folder, target, merged)
        except (DamageError, SchemaError) as error:
            merged.left_out.append(Fault(folder, words_at(folder), str(error)))
        tell(done, len(answers))
    _add_failures(source, target, merged)
    _add_foreign(source, target, merged)
    return merged


def _check(source: Path, target: Store) -> None:
    if not any((source / name).is_dir() for name in ("cells", "failures")):
        raise ValueError(f"{source} is no store: it has no folder of cells and none of failures")
    if target.root.exists() and os.path.samefile(source, target.root):
        raise ValueError(f"{source} is the target itself: name another --store, or another source")


def _answers(store: Path) -> Iterator[tuple[str, Path]]:
    """Keys and folders; what is first in the source is first in the target, if nothing is there yet."""
    cells = store / "cells"
    for key in sorted(keys_in(cells)):
        yield key, cells / key
    yield from conflicts(store)


def _whole(folder: Path, key: str) -> Record:
    try:
        return verified(folder, key)
    except OSError as error:
        raise DamageError(f"cannot be read: {error.strerror}") from None


def _add(record: Record, folder: Path, target: Store, merged: Merged) -> None:
    """A record that was verified; its files are held against their hashes again as they are copied."""
    files = {name: folder / name for name in record.files}
    if (first := target.get(record.key)) is None:
        target.commit(record, files=files)
        merged.counts["added"] += 1
        return
    if any(same_scores(each, record) for each in (first, *_others(target, record.key))):
        merged.counts["there already"] += 1
        return
    target.commit_beside(record, files)
    merged.counts["second answers"] += 1


def _others(target: Store, key: str) -> Iterator[Record]:
    for _, folder in conflicts(target.root, key):
        try:
            yield verified(folder, key)
        except DamageError as damage:
            raise ValueError(f"{folder}: {damage}; bob fsck --repair moves it away") from None


def _add_failures(source: Path, target: Store, merged: Merged) -> None:
    for key in sorted(keys_in(source / "failures")):
        forgiven = {path.name for path in (target.root / "forgiven").glob(f"{key}-*/*")}
        for path in sorted((source / "failures" / key).glob("[!.]*.json")):
            try:
                record = read_failure(path, key)
            except (DamageError, SchemaError) as error:
                merged.left_out.append(Fault(path, words_at(path), str(error)))
                continue
            if path.name in forgiven or (target.root / "failures" / key / path.name).exists():
                merged.counts["failures there already"] += 1
            else:
                target.fail(record, path.name)
                merged.counts["failures"] += 1


def _add_foreign(source: Path, target: Store, merged: Merged) -> None:
    for path in sorted((source / FOREIGN).glob("[!.]*.json")):
        try:
            added = keep(read_table(path), target.root)
        except DamageError as error:
            merged.left_out.append(Fault(path, "", str(error)))
        else:
            merged.counts["foreign tables" if added else "foreign tables there already"] += 1
