"""The order of rows and how a step is split, against their definitions."""

import numpy as np
import pytest

from backbones.training.order import accumulation_of, epoch_order, split, steps_an_epoch


def test_each_epoch_is_another_permutation() -> None:
    orders = [epoch_order(1000, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(1000))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert np.array_equal(epoch_order(1000, 1, 1), orders[3])


def test_orders_are_even() -> None:
    """Each row at each place about as often as any: chi-square of 24 x 24 counts, 99.99 % of its law."""
    counts = np.zeros((24, 24))
    for epoch in range(2400):
        counts[np.arange(24), epoch_order(24, 7, epoch)] += 1
    assert ((counts - 100) ** 2 / 100).sum() < 23 * 23 + 4 * np.sqrt(2 * 23 * 23)


@pytest.mark.parametrize("batch", range(1, 41))
def test_a_split_is_whole_even_and_keeps_pairs(batch: int) -> None:
    pairs = -(-batch // 2)
    for parts in range(1, pairs + 1):
        runs = split(batch, parts)
        assert [row for run in runs for row in range(batch)[run]] == list(range(batch))
        assert all(run.start % 2 == 0 for run in runs)
        sizes = [run.stop - run.start for run in runs]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 2 + batch % 2
    with pytest.raises(ValueError, match="too few"):
        split(batch, pairs + 1)


@pytest.mark.parametrize("batch", range(4, 41))
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("most", [2, 3, 4, 7, 8, 100, None])
def test_accumulation_is_the_least_that_fits(batch: int, devices: int, most: int | None) -> None:
    def largest(accumulation: int) -> int:
        return max(run.stop - run.start for run in split(batch, accumulation * devices))

    accumulation = accumulation_of(batch, devices, most)
    most_there_can_be = -(-batch // 2) // devices
    allowed = batch if most is None else max(most, 2)
    assert largest(accumulation) <= allowed + (2 if accumulation == most_there_can_be and devices > 1 else 0)
    if accumulation > 1:
        assert most is not None
        assert largest(accumulation - 1) > most - most % 2


def test_a_batch_larger_than_the_set() -> None:
    assert steps_an_epoch(10, 10) == 1
    with pytest.raises(ValueError, match="global_batch=11 is larger than the training set of 10 items"):
        steps_an_epoch(10, 11)
