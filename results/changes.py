"""What differs between two records, in the order in which it moves the number, and how much seeds move it."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from results.record import Record, ScoreRow, differences

View = Callable[[Record], Mapping[str, Any]]

HASH = 12
"""Digits of one that are shown."""

NUMBER: Mapping[str, View] = {
    "weights": lambda record: {
        "backbone": record.cell.backbone,
        "hash": record.identity.weights_sha256[:HASH],
    },
    "preprocessing": lambda record: record.identity.preprocess or {},
    "data": lambda record: record.cell.datasets | _contents(record),
    "protocol": lambda record: {"task": record.cell.task, "version": record.identity.protocol_version},
    "settings": lambda record: record.cell.settings,
    "precision": lambda record: {"arithmetic": record.identity.precision},
    "seed": lambda record: {"number": record.cell.seed},
}
"""What makes the number, first what usually moves it most."""

CIRCUMSTANCES: Mapping[str, View] = {
    "versions": lambda record: {
        "bob": record.provenance.bob_version,
        "python": record.provenance.python,
        **record.provenance.packages,
    },
    "code": lambda record: {"commit": record.provenance.commit[:HASH], "digest": record.provenance.code[:HASH]},
    "hardware": lambda record: {**record.provenance.hardware, "node": record.provenance.node or "unknown"},
    "cost": lambda record: record.cost.model_dump() if record.cost else {},
}
"""What should not move the number by more than rounding."""


class Spread(NamedTuple):
    """Standard deviation of a score over seeds, pooled over ``groups`` of records that differ in nothing else."""

    deviation: float
    groups: int
    records: int

    def told(self, metric: str, difference: float | None) -> str:
        """How a difference compares with that of two seeds, in words."""
        usual = math.sqrt(2) * self.deviation
        over = f"over seeds (standard deviation {self.deviation:.2g}, {self.records} records of {self.groups} answers)"
        line = f"two runs that differ in nothing but the seed usually differ by {usual:.2g} in {metric}, {over}"
        if difference is None:
            return line
        if not usual:
            return f"{line}: this difference is not the seed's" if difference else line
        return f"{line}: these two differ by {abs(difference) / usual:.1f} times that"


def changes(views: Mapping[str, View], one: Record, other: Record) -> dict[str, list[str]]:
    """A phrase for each value that differs, by aspect, in order; aspects that are the same are left out."""
    found = {}
    for aspect, view in views.items():
        if aspect == "preprocessing" and None in (one.identity.preprocess, other.identity.preprocess):
            continue  # records of schema 1 do not hold it
        if told := differences(aspect, view(one), view(other)):
            found[aspect] = told
    return found


def score_changes(one: Record, other: Record) -> list[str]:
    """A line a score, those that boards show first."""
    mine, theirs = ({(row.metric, row.split): row for row in record.scores} for record in (one, other))
    names = sorted({**mine, **theirs}, key=lambda name: name[0] not in (one.headline, other.headline))
    return [
        f"{metric} ({split}): {_told(mine.get((metric, split)), theirs.get((metric, split)))}"
        for metric, split in names
    ]


def headline_difference(one: Record, other: Record) -> float | None:
    """By how much the number of boards moved; None where that is not one metric of one task, with two values."""
    mine, theirs = one.headline_row(), other.headline_row()
    if mine is None or theirs is None or None in (mine.value, theirs.value):
        return None
    if (one.cell.task, mine.metric) != (other.cell.task, theirs.metric):
        return None
    return (theirs.value or 0.0) - (mine.value or 0.0)


def seed_spread(records: Iterable[Record], metric: str) -> Spread | None:
    """Of this headline over these records; None where no two of them differ in the seed alone."""
    groups: dict[str, list[float]] = defaultdict(list)
    for record in records:
        row = record.headline_row()
        if row is not None and row.metric == metric and row.value is not None:
            same = [record.cell.backbone, record.cell.setting(), record.identity.model_dump()]
            groups[json.dumps(same, sort_keys=True)].append(row.value)
    several = [values for values in groups.values() if len(values) > 1]
    if not several:
        return None
    squares = sum(float(np.var(values)) * len(values) for values in several)
    freedom = sum(len(values) - 1 for values in several)
    return Spread(math.sqrt(squares / freedom), len(several), sum(map(len, several)))


def _contents(record: Record) -> dict[str, str]:
    return {f"contents of {name}": digest[:HASH] for name, digest in record.identity.manifests.items()}


def _told(one: ScoreRow | None, other: ScoreRow | None) -> str:
    shown = f"{_value(one)} -> {_value(other)}"
    if one is None or other is None or one.value is None or other.value is None:
        return shown
    return f"{shown} ({other.value - one.value:+.6g})" if one.value != other.value else f"{_value(one)}, the same"


def _value(row: ScoreRow | None) -> str:
    if row is None:
        return "none"
    return f"{row.value:.6g}" if row.value is not None else f"no number ({row.reason or 'for no known reason'})"
