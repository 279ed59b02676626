"""Two backbones of a store, setting by setting: which is better, by how much, and what could have been seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from backbones.catalogue import resolve
from backbones.plugins import unknown
from results.board import Board, Column, Entry, board, comparable
from results.comparison import Comparison, IncomparableError, compared
from results.gates import ItemsOf
from results.items import Items, headline_items
from results.record import Record
from results.statistics.correction import holm
from results.statistics.power import detectable, more_seeds
from results.statistics.student import LEVEL
from results.store import Store
from tasks.catalogue import protocol_versions


@dataclass(frozen=True)
class Verdict:
    """One setting. ``found`` is None where it cannot be compared, and ``reason`` says why.

    ``p`` is corrected over all settings of the comparison (Holm). ``winner`` is 1 where the first backbone is better,
    -1 where the second is, 0 where no difference was seen; a smaller true one than ``detectable`` would be missed in
    one of five tries or more often. ``more_seeds`` would find a difference as large as the one seen; None where they
    are not known to help.
    """

    column: Column
    found: Comparison | None
    reason: str = ""
    p: float = 1.0
    winner: int = 0
    detectable: float = 0.0
    more_seeds: int | None = None


@dataclass(frozen=True)
class Match:
    """Two backbones, what each setting that both have says of them, and how many settings only one of them has."""

    names: tuple[str, str]
    verdicts: tuple[Verdict, ...]
    alone: tuple[int, int]

    def tally(self) -> tuple[int, int, int, int]:
        """Settings that the first wins, that the second wins, without a difference seen, and not comparable."""
        told = [None if each.found is None else each.winner for each in self.verdicts]
        return told.count(1), told.count(-1), told.count(0), told.count(None)


def compare(store: Store, mine: str, theirs: str) -> Match:
    """Compare two backbones by what is in the store, as a board of it would show them.

    Raises ``ValueError`` for a name that has no records, with near ones, and for one backbone given twice.
    """
    records = [*store.records(), *store.failures()]
    if not records:
        raise ValueError(
            f"there is nothing to compare in {store.root}: `bob run` computes results, --store names others"
        )
    names = _known(mine, records), _known(theirs, records)
    if names[0] == names[1]:
        raise ValueError(f"{names[0]!r} is both: name two backbones")
    versions = protocol_versions({record.cell.task for record in records})
    wanted = {record.cell.backbone for record in records if record.backbone.baseline} | set(names)
    items_of = partial(_items_of, store, wanted)
    shown = board(records, versions, items_of=items_of)
    current = [record for record in comparable(records, versions) if record.cell.backbone in names]
    pairs = list(zip(shown.columns, *(_entries(shown, name) for name in names), strict=True))
    verdicts = [
        _verdict(column, entries, [_of(current, name, column) for name in names], items_of)
        for column, *entries in pairs
        if all(entry.status != "missing" for entry in entries)
    ]
    alone = [sum(pair[1 + side].status != "missing" == pair[2 - side].status for pair in pairs) for side in (0, 1)]
    return Match(names, tuple(_corrected(verdicts)), (alone[0], alone[1]))


def _known(name: str, records: Sequence[Record]) -> str:
    """The name as records have it: as given, or the one that it is an alias of."""
    there = sorted({record.cell.backbone for record in records})
    for spelt in (name, resolve(name)):
        if spelt in there:
            return spelt
    raise unknown("backbone of the store", name, there)


def _items_of(store: Store, wanted: set[str], record: Record) -> Items | None:
    """The items of those compared and of the floors that they must beat; others' are not read."""
    return headline_items(store, record) if record.cell.backbone in wanted else None


def _entries(shown: Board, name: str) -> tuple[Entry, ...]:
    return next(row.entries for row in shown.rows if row.backbone == name)


def _of(records: Sequence[Record], name: str, column: Column) -> list[Record]:
    return [each for each in records if each.cell.backbone == name and each.cell.setting() == column.setting]


def _verdict(
    column: Column, entries: Sequence[Entry], records: Sequence[Sequence[Record]], items_of: ItemsOf
) -> Verdict:
    """What is seen before anything is corrected, or why nothing can be."""
    if reasons := [
        f"{side}: {_why(entry)}" for side, entry in zip("AB", entries, strict=True) if entry.status != "done"
    ]:
        return Verdict(column, None, "; ".join(reasons))
    try:
        return Verdict(column, compared(records[0], records[1], items_of))
    except IncomparableError as error:
        return Verdict(column, None, str(error))


def _why(entry: Entry) -> str:
    if entry.status == "stale":
        return "stale, computed by an older protocol, weights or data"
    return entry.warnings[0] if entry.status == "quarantined" else entry.failure or entry.status


def _corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """With p-values that hold for all of them together, and what they say then.

    What could have been seen is told for the strictest of the corrected levels, that of the smallest p-value.
    """
    told = [each.found for each in verdicts if each.found is not None]
    corrected = iter(holm(np.array([found.advantage.p for found in told])))
    return [
        each if each.found is None else _decided(each, each.found, float(next(corrected)), LEVEL / len(told))
        for each in verdicts
    ]


def _decided(verdict: Verdict, found: Comparison, p: float, level: float) -> Verdict:
    seen = found.advantage
    sure = p < LEVEL and not seen.low <= 0 <= seen.high
    more = None
    if not sure and found.per_seed is not None and seen.value:
        more = more_seeds(seen.value, found.per_seed, min(found.seeds), found.items_part, level)
    return replace(
        verdict,
        p=p,
        winner=int(np.sign(seen.value)) if sure else 0,
        detectable=detectable(seen.error, seen.freedom, level),
        more_seeds=more,
    )
