"""Two answers to one key: what stores that were merged do not agree on. The first is shown, the others are kept.

STORE/conflicts/KEY-DIGEST/    a cell's folder like those of cells/; to settle it a person removes the one or the other
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from results.names import visible
from results.record import Record, ScoreRow
from results.store import CONFLICTS, RECORD

_NAME = re.compile(r"([0-9a-f]{8,64})-[0-9a-f]{16}")


def conflicts(store: Path, key: str = "") -> Iterator[tuple[str, Path]]:
    """Key and folder of every answer that is not the first to its key; of one key alone where it is given."""
    try:
        names = sorted(os.listdir(store / CONFLICTS))
    except FileNotFoundError:
        return
    for match in filter(None, map(_NAME.fullmatch, names)):
        if key in ("", match[1]):
            yield match[1], store / CONFLICTS / match[0]


def same_scores(one: Record, other: Record) -> bool:
    """Whether two records tell the same numbers, but for what rounding does to them."""
    mine, theirs = _by_name(one), _by_name(other)
    return mine.keys() == theirs.keys() and all(_is_same(mine[name], theirs[name]) for name in mine)


def two_answers(store: Path) -> list[str]:
    """A line for each, for people: the question, both answers, and where they are."""
    return [_line(store, key, folder) for key, folder in conflicts(store)]


def _line(store: Path, key: str, folder: Path) -> str:
    first, other = _read(store / "cells" / key), _read(folder)
    known = first or other
    question = f" ({known.cell.words()})" if known else ""
    told = f"{_headline(first)} in cells/{key}, {_headline(other)} in {CONFLICTS}/{folder.name}"
    return visible(f"two answers{question}: {told}", 1000)


def _read(folder: Path) -> Record | None:
    try:
        return Record.from_json((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return None


def _headline(record: Record | None) -> str:
    row = record and record.headline_row()
    return f"{row.metric} {row.value}" if row else "nothing that can be read"


def _by_name(record: Record) -> Mapping[tuple[str, str], ScoreRow]:
    return {(row.metric, row.split): row for row in record.scores}


def _is_same(one: ScoreRow, other: ScoreRow) -> bool:
    if one.n != other.n or (one.value is None) != (other.value is None):
        return False
    return one.value is None or math.isclose(one.value, other.value or 0.0, rel_tol=1e-9, abs_tol=1e-12)
