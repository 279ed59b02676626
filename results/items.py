"""What every test item gave to a record's headline, by which two records can be compared item by item."""

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.record import DamageError, Record, ScoreRow
from results.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Items:
    """``values`` (n,), in the metric's own unit and sense, of the items ``names``, which are sorted and distinct."""

    names: "pa.Array"
    values: NDArray[np.float64]


def headline_items(store: Store, record: Record) -> Items | None:
    """The items of a record's headline in the store; None where it is no mean over named items, or they are gone."""
    import pyarrow.compute as pc

    row = record.headline_row()
    column = f"score:{record.headline}"
    try:
        table = store.outputs(record.key)
    except (FileNotFoundError, DamageError):
        return None
    if row is None or not {"item", "split", column} <= set(table.column_names):
        return None
    rows = table.select(["item", column]).filter(pc.equal(table["split"], row.split)).drop_null()
    if len(rows) != row.n or len(rows["item"].unique()) < len(rows):
        return None
    rows = rows.sort_by("item")
    return Items(rows["item"].combine_chunks(), rows[column].to_numpy().astype(np.float64))


def score_values(store: Store, record: Record, row: ScoreRow) -> NDArray[np.float64] | None:
    """What each item gave to a score, in the order of the items; None where it is no mean over items, or they are gone.

    A score over other items than its split's has rows of its own, whose split is ``SPLIT:METRIC``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = f"score:{row.metric}"
    try:
        table = store.outputs(record.key)
    except (FileNotFoundError, DamageError):
        return None
    if not {"split", column} <= set(table.column_names):
        return None
    places = pa.array([row.split, f"{row.split}:{row.metric}"])
    values = table[column].filter(pc.is_in(table["split"], places)).drop_null()
    return values.to_numpy().astype(np.float64) if len(values) == row.n else None


def mean_items(several: list[Items | None]) -> Items | None:
    """Every item's mean over several records (seeds); None unless all of them hold the same items."""
    found = [each for each in several if each is not None]
    if not found or len(found) < len(several) or any(not each.names.equals(found[0].names) for each in found):
        return None
    return Items(found[0].names, reduce(np.add, (each.values for each in found)) / len(found))
