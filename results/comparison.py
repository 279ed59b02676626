"""Two backbones in one setting, by the test that what is kept of them allows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.gates import ItemsOf
from results.items import Items, mean_items
from results.record import Record
from results.statistics.bootstrap import bootstrap_interval
from results.statistics.components import components
from results.statistics.over_seeds import over_paired_seeds, over_unpaired_seeds
from results.statistics.paired import mcnemar, sign_flips
from results.statistics.student import Estimate


class IncomparableError(ValueError):
    """Why two numbers cannot be held against each other."""


@dataclass(frozen=True)
class Comparison:
    """``mine`` and ``theirs`` are the means compared; ``advantage`` is mine less theirs, above zero if mine is better.

    ``items`` is None where only seeds' numbers were compared. ``per_seed`` is the variance of the advantage from seed
    to seed, None where it is not known, and ``items_part`` the variance that no seed takes away.
    """

    mine: float
    theirs: float
    advantage: Estimate
    test: str
    items: int | None
    seeds: tuple[int, int]
    per_seed: float | None = None
    items_part: float = 0.0


def compared(mine: Sequence[Record], theirs: Sequence[Record], items_of: ItemsOf) -> Comparison:
    """Hold the headlines of two backbones' records against each other, a record a seed, all of one setting.

    Item by item where all records hold the same test items, with the noise of seeds in it where both have two of the
    same; else over seeds. Raises :class:`IncomparableError` where neither can be.
    """
    if not all((row := record.headline_row()) and row.value is not None for record in (*mine, *theirs)):
        raise IncomparableError("a number is missing")
    found = {record.key: items_of(record) for record in (*mine, *theirs)}
    if (names := mean_items(list(found.values()))) is not None and len(names.values) > 1:
        return _on_items(mine, theirs, {key: each for key, each in found.items() if each is not None})
    kept = sum(each is not None for each in found.values())
    return _over_seeds(mine, theirs, "they hold other test items" if kept == len(found) else "no items are kept of it")


def _on_items(mine: Sequence[Record], theirs: Sequence[Record], items: Mapping[str, Items]) -> Comparison:
    shared = _shared(mine, theirs)
    if len(shared) > 1:
        return _crossed(shared, items)
    ours, others = (
        np.stack([items[record.key].values for record in records]).mean(axis=0) for records in (mine, theirs)
    )
    differences = _sign(mine[0]) * (ours - others)
    if not np.isfinite(differences).all():
        raise IncomparableError("what some items gave is no finite number")
    low, high = bootstrap_interval(differences)
    right_or_wrong = all(np.isin(each, (0.0, 1.0)).all() for each in (ours, others))
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    p = mcnemar(ours > 0, others > 0) if right_or_wrong else sign_flips(differences).p
    return Comparison(
        mine=float(ours.mean()),
        theirs=float(others.mean()),
        advantage=Estimate(float(differences.mean()), low, high, p, error, len(differences) - 1),
        test="McNemar, exact" if right_or_wrong else "sign flips",
        items=len(differences),
        seeds=(len(mine), len(theirs)),
    )


def _crossed(shared: Sequence[tuple[Record, Record]], items: Mapping[str, Items]) -> Comparison:
    """Of the seeds that both have, with what seeds and what items add to the noise."""
    ours, others = (np.stack([items[pair[side].key].values for pair in shared]) for side in (0, 1))
    parts = components(_sign(shared[0][0]) * (ours - others))
    return Comparison(
        mine=float(ours.mean()),
        theirs=float(others.mean()),
        advantage=parts.estimate(),
        test="t, items x seeds",
        items=parts.n_items,
        seeds=(len(shared), len(shared)),
        per_seed=parts.per_seed(),
        items_part=parts.items_part(),
    )


def _over_seeds(mine: Sequence[Record], theirs: Sequence[Record], why: str) -> Comparison:
    """By the seeds' numbers alone, ``why`` being why not by items."""
    shared = _shared(mine, theirs)
    if len(shared) < 2 and min(len(mine), len(theirs)) < 2:
        raise IncomparableError(f"{why}, and one seed has no spread: two seeds of each can be compared")
    paired = len(shared) > 1
    ours, others = ([pair[side] for pair in shared] if paired else (mine, theirs)[side] for side in (0, 1))
    x, y = _values(ours), _values(others)
    sign = _sign(mine[0])
    found = over_paired_seeds(sign * (x - y)) if paired else over_unpaired_seeds(sign * x, sign * y)
    if found.error == 0:
        raise IncomparableError(f"{why}, and the difference is the same of every seed: there is no noise to see it by")
    return Comparison(
        mine=float(x.mean()),
        theirs=float(y.mean()),
        advantage=found,
        test="paired t over seeds" if paired else "Welch's t over seeds",
        items=None,
        seeds=(len(x), len(y)),
        per_seed=found.error**2 * min(len(x), len(y)),
    )


def _shared(mine: Sequence[Record], theirs: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Both records of each seed that both have."""
    others = {record.cell.seed: record for record in theirs}
    return [(record, others[record.cell.seed]) for record in mine if record.cell.seed in others]


def _values(records: Sequence[Record]) -> NDArray[np.float64]:
    rows = [record.headline_row() for record in records]
    return np.array([row.value for row in rows if row is not None], dtype=np.float64)


def _sign(record: Record) -> int:
    row = record.headline_row()
    return -1 if row is not None and not row.higher_is_better else 1
