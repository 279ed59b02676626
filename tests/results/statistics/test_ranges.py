from itertools import combinations

import numpy as np
import pytest

from results.statistics.pairs import pairwise_p
from results.statistics.ranges import different, rank_ranges, tie_groups


def board(generator: np.random.Generator, ability: np.ndarray, items: int) -> np.ndarray:
    """Right or wrong; items that are easy for one are easy for all."""
    chance = 1 / (1 + np.exp(-(ability[:, None] + generator.normal(size=items))))
    return (generator.random((len(ability), items)) < chance).astype(np.float64)


@pytest.mark.parametrize("backbones", [2, 12])
def test_identical_backbones_are_one_group_in_at_least_19_of_20_boards(backbones: int) -> None:
    generator = np.random.default_rng(0)
    single = 0
    for _ in range(1000):
        values = board(generator, np.zeros(backbones), 400)
        groups = tie_groups(values.mean(axis=1), different(pairwise_p(values)))
        single += len(groups) == 1
    assert single >= 950 - 2 * np.sqrt(1000 * 0.05 * 0.95)  # two standard errors of the count itself
    assert single < 1000  # and is not so by never finding anything


def test_true_ranks_are_in_their_ranges() -> None:
    generator = np.random.default_rng(1)
    ability, inside, width = np.linspace(1, -1, 8), 0, []
    for _ in range(200):
        values = board(generator, ability, 500)
        found = rank_ranges(values.mean(axis=1), different(pairwise_p(values)))
        inside += all(best <= rank <= worst for rank, (best, worst) in enumerate(found, start=1))
        width.append(np.mean([worst - best for best, worst in found]))
    assert inside >= 190
    assert np.mean(width) < 3  # of 7, were nothing found


def test_groups_hold_just_what_is_promised() -> None:
    generator = np.random.default_rng(2)
    for _ in range(200):
        scores = generator.permutation(7).astype(float)
        upper = np.triu(generator.random((7, 7)) < generator.random(), 1)
        differ = upper | upper.T
        groups = tie_groups(scores, differ)
        assert {member for group in groups for member in group} == set(range(7))
        for group in groups:
            assert not any(differ[a, b] for a, b in combinations(group, 2))
            assert list(scores[list(group)]) == sorted(scores[list(group)], reverse=True)
        for one, other in combinations(groups, 2):
            assert not set(one) <= set(other)
            assert not set(other) <= set(one)
        assert (len(groups) == 1) == (not differ.any())
        for a, b in combinations(range(7), 2):
            between = [c for c in range(7) if min(scores[a], scores[b]) <= scores[c] <= max(scores[a], scores[b])]
            if not any(differ[x, y] for x, y in combinations(between, 2)):
                assert any({a, b} <= set(group) for group in groups)


def test_nobody_and_one_alone() -> None:
    none = np.zeros((0, 0))
    assert tie_groups(np.zeros(0), different(none)) == []
    assert rank_ranges(np.zeros(1), different(np.ones((1, 1)))) == [(1, 1)]
    assert tie_groups(np.zeros(1), different(np.ones((1, 1)))) == [(0,)]
