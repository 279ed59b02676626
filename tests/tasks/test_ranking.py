"""Retrieval metrics against ranking everything, averaged over every order of what ties."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tasks.retrieval.ranking import Blocks, average_precision, blocks, first_place, hit, precision


def by_hand(relevant: np.ndarray) -> dict[str, float]:
    """Every metric of one ranking, first to last."""
    places = np.flatnonzero(relevant)
    precisions = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return {
        "map": precisions[places].mean(),
        "mrr": 1 / (places[0] + 1),
        "rank": places[0] + 1,
        **{f"hit@{k}": float(relevant[:k].any()) for k in (1, 2, 5)},
        **{f"precision@{k}": relevant[:k].sum() / k for k in (1, 2, 5)},
    }


def closed_form(ranking: Blocks) -> dict[str, float]:
    reciprocal, rank = first_place(ranking)
    return {
        "map": average_precision(ranking),
        "mrr": reciprocal,
        "rank": rank,
        **{f"hit@{k}": hit(ranking, k) for k in (1, 2, 5)},
        **{f"precision@{k}": precision(ranking, k) for k in (1, 2, 5)},
    }


@pytest.mark.parametrize(
    ("scores", "relevant"),
    [
        ([5, 4, 3, 2, 1, 0], [0, 1, 0, 1, 1, 0]),
        ([1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0]),
        ([3, 3, 2, 2, 2, 1], [1, 0, 1, 0, 1, 1]),
        ([3, 2, 2, 2, 1, 1], [0, 0, 1, 0, 0, 1]),
        ([2, 2, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
    ],
)
def test_closed_forms_are_averages_over_all_orders_of_ties(scores: list[int], relevant: list[int]) -> None:
    orders = [
        by_hand(np.array(relevant)[sorted(range(6), key=lambda i, o=order: (-scores[i], o[i]))])
        for order in itertools.permutations(range(6))
    ]
    expected = {name: np.mean([order[name] for order in orders]) for name in orders[0]}
    answers = np.array(scores)[np.array(relevant, dtype=bool)]
    assert closed_form(blocks(np.sort(scores), answers)) == pytest.approx(expected)


def test_without_ties_average_precision_is_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    scores, relevant = generator.permutation(3000), generator.random(3000) < 0.02
    found = average_precision(blocks(np.sort(scores), scores[relevant]))
    assert found == pytest.approx(average_precision_score(relevant, scores))


def test_a_million_ties_are_chance() -> None:
    ranking = Blocks(np.array([0]), np.array([10**6]), np.array([1]))
    harmonic = (1 / np.arange(1, 10**6 + 1)).sum() / 10**6
    assert average_precision(ranking) == pytest.approx(harmonic)
    assert first_place(ranking)[0] == pytest.approx(harmonic)
    assert precision(ranking, 10) == pytest.approx(1e-6)
