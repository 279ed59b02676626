import numpy as np
import pytest
from scipy import stats

from results.statistics.pairs import paired_bootstrap, pairwise_p


def simulated(generator: np.random.Generator, backbones: int, items: int) -> np.ndarray:
    """Right or wrong, by an item's ease that all backbones share."""
    ease = generator.beta(2, 1, items)
    return (generator.random((backbones, items)) < ease).astype(np.float64)


def test_intervals_are_scipys_of_each_pair_alone() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, 200)) + generator.normal(size=200) + np.array([[0.0], [0.1], [50.0]])
    found = paired_bootstrap(values)
    for a, b in [(0, 1), (2, 0), (1, 2)]:
        one = values[a] - values[b]
        ci = stats.bootstrap((one,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
        width = ci.high - ci.low
        assert found.difference[a, b] == pytest.approx(one.mean())
        assert (found.low[a, b], found.high[a, b]) == pytest.approx(tuple(ci), abs=0.05 * width)
    np.testing.assert_array_equal(found.low, -found.high.T)
    assert not found.low.diagonal().any()


def test_blocks_and_single_precision_change_nothing_to_speak_of() -> None:
    values = simulated(np.random.default_rng(1), 4, 50_000) + 1000.0
    found = paired_bootstrap(values, resamples=200, seed=3)
    generator = np.random.default_rng(3)
    drawn = [generator.integers(0, 50_000, 50_000) for _ in range(200)]
    means = np.array([values[:, each].mean(axis=1) for each in drawn])
    low, high = np.quantile(means[:, 0] - means[:, 1], [0.025, 0.975])
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((low, high), abs=1e-4 * (high - low))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(2)
    hits = []
    for _ in range(200):
        found = paired_bootstrap(simulated(generator, 4, 300), resamples=400, seed=int(generator.integers(1e9)))
        hits += list(((found.low <= 0) & (found.high >= 0))[np.triu_indices(4, 1)])
    assert 0.92 <= np.mean(hits) <= 0.98


def test_p_values_are_scipys_paired_t_tests() -> None:
    values = np.random.default_rng(3).normal(size=(4, 30)) + 7
    values[3] = values[2]
    found = pairwise_p(values)
    for a, b in [(0, 1), (2, 0), (1, 2)]:
        assert found[a, b] == found[b, a] == pytest.approx(stats.ttest_rel(values[a], values[b]).pvalue)
    assert found[2, 3] == 1.0
    assert (found.diagonal() == 1.0).all()
