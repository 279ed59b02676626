"""The record that a person means by its key, or by the beginning of it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from results.names import visible
from results.record import DamageError, Record
from results.store import CONFLICTS, RECORD, Store, verified

SHORTEST = 4
"""Digits that a beginning of a key must have."""

MOST = 8
"""Told by name, of several that begin alike."""

_NAME = re.compile(r"[0-9a-f]{8,64}(-[0-9a-f]{16})?")


def find_record(store: Path, name: str) -> Record:
    """The record in cells, conflicts (``KEY-DIGEST``) or failures whose name begins so; verified.

    Raises ``ValueError`` where there is none, or with those there are where several, or where it is damaged.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},}}(-[0-9a-f]*)?", name):
        raise ValueError(f"{name!r:.80} is no key: give {SHORTEST} hexadecimal digits of one or more")
    found = sorted({each for each in _names(store) if each.startswith(name)})
    if name not in found and len({each.partition("-")[0] for each in found}) == 1:
        found = found[:1]  # a key, and other answers to it, which are asked for by their whole name
    if name in found or len(found) == 1:
        return _read(store, name if name in found else found[0])
    if not found:
        raise ValueError(f"no record in {store} has a key that begins with {name}")
    some = "".join(f"\n  {each}  {_words(store, each)}" for each in found[:MOST])
    more = f"\n  and {len(found) - MOST:,} more" if len(found) > MOST else ""
    raise ValueError(f"{len(found):,} keys begin with {name}:{some}{more}")


def _names(store: Path) -> Iterator[str]:
    for folder in ("cells", CONFLICTS, "failures"):
        if (store / folder).is_dir():
            yield from filter(_NAME.fullmatch, os.listdir(store / folder))


def _read(store: Path, name: str) -> Record:
    key, _, second = name.partition("-")
    folder = store / CONFLICTS / name if second else store / "cells" / key
    if folder.exists():
        try:
            return verified(folder, key)
        except DamageError as damage:
            raise ValueError(f"{folder}: {damage}; see bob fsck") from None
    if failed := Store(store).failures([key]):
        return failed[0]
    raise ValueError(f"what is left of {key} in {store} cannot be read; see bob fsck")


def _words(store: Path, name: str) -> str:
    for folder in (store / "cells", store / CONFLICTS):
        try:
            return visible(Record.from_json((folder / name / RECORD).read_bytes()).cell.words(), 200)
        except (OSError, ValueError):
            continue
    return ""
