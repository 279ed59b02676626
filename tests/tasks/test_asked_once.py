"""What was found out about a dataset is asked for once, of each object for itself, and goes with it."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from tasks.datasets.asked_once import asked_once
from tasks.datasets.base import Dataset
from tasks.datasets.partition import partition


def dataset(world: Any, rows: int) -> Dataset:
    made: Dataset = world.dataset("a", ("x", "y"), {"train": (np.zeros((rows, 1)), np.arange(rows) % 2)})
    return made


def test_asked_once_of_each(world: Any) -> None:
    asked: list[int] = []

    @asked_once
    def rows(data: Dataset, factor: int = 1, *, less: int = 0) -> int:
        asked.append(factor)
        return len(data.splits["train"]) * factor - less

    one, two = dataset(world, 6), dataset(world, 8)
    for _ in range(3):
        assert (rows(one), rows(two), rows(one, 2), rows(one, less=1)) == (6, 8, 12, 5)
    assert asked == [1, 1, 2, 1]


def test_a_refusal_is_raised_each_time(world: Any) -> None:
    @asked_once
    def fails(data: Dataset) -> int:
        raise ValueError("no")

    one = dataset(world, 4)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fails(one)


def test_it_goes_with_the_dataset(world: Any) -> None:
    one = dataset(world, 20)
    parts = partition(one, 0)
    assert partition(one, 0) is parts
    assert partition(one, 1) is not partition(one, 1)
    gone, rows = weakref.ref(one), weakref.ref(parts.train.rows)
    del one, parts
    gc.collect()
    assert gone() is None
    assert rows() is None
