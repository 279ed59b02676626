"""Landmark metrics against ranks looked at one by one, ties against the mean over every order."""

from itertools import permutations

import numpy as np
import pytest

from tasks.retrieval.official import clipped_precision, trapezoidal_precision, truncated_precision
from tasks.retrieval.ranking import average_precision, blocks


def trapezoids(ranks: list[int]) -> float:
    """``ranks`` from 0; the area under the precision-recall curve, a trapezoid between each two right answers."""
    area = 0.0
    for found, rank in enumerate(ranks):
        before = 1.0 if rank == 0 else found / rank
        area += (before + (found + 1) / (rank + 1)) / 2 / len(ranks)
    return area


def clipped(ranks: list[int], k: int) -> float:
    places = np.array(ranks) + 1
    last = min(places.max(), k)
    return float((places <= last).sum() / last)


def truncated(ranks: list[int], k: int) -> float:
    right = np.zeros(max(ranks) + k + 1)
    right[ranks] = 1
    total = sum(right[: at + 1].mean() * right[at] for at in range(k))
    return float(total / min(len(ranks), k))


def ours(scores: np.ndarray, right: np.ndarray) -> list[float]:
    ranking = blocks(np.sort(scores), scores[right])
    return [
        trapezoidal_precision(ranking),
        *(clipped_precision(ranking, k) for k in (1, 3, 5, 10)),
        *(truncated_precision(ranking, k) for k in (1, 3, 100)),
        average_precision(ranking),
    ]


def by_hand(order: np.ndarray, right: np.ndarray) -> list[float]:
    ranks = np.flatnonzero(np.isin(order, right)).tolist()
    return [
        trapezoids(ranks),
        *(clipped(ranks, k) for k in (1, 3, 5, 10)),
        *(truncated(ranks, k) for k in (1, 3, 100)),
        truncated(ranks, len(order)),
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_distinct_scores_give_the_definitions(count: int) -> None:
    generator = np.random.default_rng(count)
    for _ in range(20):
        scores = generator.permutation(200)
        right = generator.choice(200, count, replace=False)
        assert ours(scores, right) == pytest.approx(by_hand(np.argsort(-scores), right))


@pytest.mark.parametrize(
    ("scores", "right"),
    [
        ([1, 1, 1, 1, 1, 1], [0, 3]),
        ([1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5]),
        ([3, 1, 1, 1, 2, 1], [1, 4]),
        ([3, 3, 3, 1, 1, 1], [0, 5]),
        ([3, 3, 2, 1, 1, 1], [0, 1, 4, 5]),
        ([2, 2, 2, 1, 1, 0], [1]),
        ([9, 2, 2, 2, 2, 2], [1, 2, 3]),
    ],
)
def test_ties_are_the_mean_over_every_order(scores: list[int], right: list[int]) -> None:
    values = np.array(scores)
    orders = [np.array(order) for order in permutations(range(len(values)))]
    rows = [by_hand(order, np.array(right)) for order in orders if (np.diff(values[order]) <= 0).all()]
    assert ours(values, np.array(right)) == pytest.approx(np.mean(rows, axis=0).tolist())


def test_a_gallery_of_a_million_ties_is_finite() -> None:
    values = ours(np.zeros(1_000_000, dtype=np.int64), np.arange(300))
    assert np.isfinite(values).all()
    assert values[1] == pytest.approx(300 / 1e6)


def test_the_worst_and_the_best_order() -> None:
    scores = np.arange(20)
    assert ours(scores, np.array([18, 19]))[:5] == [1.0] * 5
    worst = ours(scores, np.array([0, 1]))
    assert worst[0] == pytest.approx((0 / 18 + 1 / 19 + 1 / 19 + 2 / 20) / 4)
    assert worst[1:5] == [0.0] * 4
