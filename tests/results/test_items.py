"""Items of a headline, as they are read back from a store."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from results.items import Items, headline_items, mean_items
from results.store import Store

COLUMNS = {
    "split": ["other", "test", "test", "test"],
    "item": ["a", "c", "a", "b"],
    "score:mAP": [0.9, 0.3, 0.1, 0.2],
    "score:mrr": [1.0, 1.0, 1.0, 1.0],
}


def kept(folder: Path, make: Any, **changes: Any) -> Items | None:
    """A record of three items in a store, its table changed, and what is read of it."""
    store, record = Store(folder), make()
    record = record.model_copy(update={"scores": [record.scores[0].model_copy(update={"n": 3})]})
    columns = {name: column for name, column in {**COLUMNS, **changes}.items() if column is not None}
    store.commit(record, pa.table(columns))
    return headline_items(store, record)


def test_items_of_the_headlines_split_in_the_order_of_their_names(tmp_path: Path, make: Any) -> None:
    found = kept(tmp_path, make)
    assert found is not None
    assert found.names.to_pylist() == ["a", "b", "c"]
    assert found.values.tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "changes",
    [
        {"item": None},
        {"item": ["a", None, None, None]},
        {"item": ["a", "c", "a", "a"]},
        {"score:mAP": None},
        {"score:mAP": [0.9, 0.3, None, 0.2]},
        {"split": ["other"] * 4},
    ],
)
def test_none_where_items_have_no_name_or_are_not_all_there(tmp_path: Path, make: Any, changes: Any) -> None:
    assert kept(tmp_path, make, **changes) is None


def test_none_of_a_record_without_outputs(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    assert headline_items(store, record) is None
    store.commit(record)
    assert headline_items(store, record) is None


def test_means_over_seeds_are_of_the_same_items_or_none() -> None:
    one, two = (Items(pa.array(["a", "b"]), np.array(values)) for values in ([0.0, 1.0], [1.0, 1.0]))
    found = mean_items([one, two])
    assert found is not None
    assert found.values.tolist() == [0.5, 1.0]
    assert mean_items([one, None]) is None
    assert mean_items([one, Items(pa.array(["a", "c"]), two.values)]) is None
    assert mean_items([]) is None
