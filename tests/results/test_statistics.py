import numpy as np
import pytest
from scipy import stats

from results.statistics import NORMAL_FROM, bootstrap_interval, ranks, z_scores


@pytest.mark.parametrize("kind", ["binary", "continuous", "weighted"])
def test_interval_is_scipys_percentile_bootstrap(kind: str) -> None:
    generator = np.random.default_rng(1)
    values = {
        "binary": (generator.random(500) < 0.7).astype(float),
        "continuous": generator.random(500) ** 3,
        "weighted": (generator.random(500) < 0.7) * generator.choice([0.5, 1.0, 2.0], 500),
    }[kind]
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    width = expected.high - expected.low
    assert bootstrap_interval(values) == pytest.approx((expected.low, expected.high), abs=0.06 * width)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(1000):
        low, high = bootstrap_interval(generator.random(300) < 0.8)
        hits += low <= 0.8 <= high
    assert 0.92 <= hits / 1000 <= 0.98


def test_many_items_have_the_normal_interval_which_is_the_bootstraps_limit() -> None:
    values = np.random.default_rng(4).exponential(size=NORMAL_FROM)
    low, high = bootstrap_interval(values)
    before = bootstrap_interval(values[:-1])
    assert (low, high) == pytest.approx(before, abs=0.1 * (high - low))


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_no_interval_of_what_is_not_finite(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(values)


def test_z_scores_and_ranks_are_scipys() -> None:
    values = np.array([0.3, 0.9, np.nan, 0.3, 0.5])
    np.testing.assert_allclose(z_scores(values), stats.zscore(values, nan_policy="omit"))
    expected = stats.rankdata(-values, nan_policy="omit")
    np.testing.assert_allclose(ranks(values), expected)


def test_equal_values_have_no_z_and_adding_a_constant_changes_none() -> None:
    assert z_scores([0.1 + 0.2, 0.3]).tolist() == [0.0, 0.0]
    values = np.array([0.3, 0.9, 0.5])
    np.testing.assert_allclose(z_scores(values + 7), z_scores(values))
    assert np.isnan(z_scores([np.nan])).all()
