import numpy as np
import pytest
from scipy import stats

from results.statistics.bootstrap import NORMAL_FROM, Z95, bootstrap_interval, clustered_interval, draw_counts


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


def test_groups_are_drawn_whole_as_a_slow_twin_draws_them() -> None:
    generator = np.random.default_rng(5)
    groups = generator.integers(0, 40, 300)
    values = generator.normal(size=40)[groups] + generator.normal(size=300)
    members = [values[groups == group] for group in np.unique(groups)]
    means = [np.concatenate([members[i] for i in generator.integers(0, 40, 40)]).mean() for _ in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    names = np.array([f"video {group}" for group in groups])
    assert clustered_interval(values, names) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_only_whole_groups_cover_the_truth_where_items_of_a_group_are_alike() -> None:
    generator = np.random.default_rng(6)
    whole, single = 0, 0
    groups = np.repeat(np.arange(60), 5)
    for _ in range(400):
        values = np.repeat(generator.normal(size=60), 5) + 0.3 * generator.normal(size=300)
        low, high = clustered_interval(values, groups)
        whole += low <= 0 <= high
        single += abs(values.mean()) <= Z95 * values.std() / np.sqrt(300)
    assert 0.92 <= whole / 400 <= 0.98
    assert single / 400 < 0.8


@pytest.mark.parametrize(("values", "groups"), [([1.0, 2.0], [0, 0]), ([1.0, np.nan], [0, 1]), ([], [])])
def test_no_interval_over_fewer_than_two_groups(values: list[float], groups: list[int]) -> None:
    with pytest.raises(ValueError, match="two groups"):
        clustered_interval(np.array(values), np.array(groups))


def test_counts_are_multinomial() -> None:
    generator = np.random.default_rng(7)
    drawn = np.stack([draw_counts(generator, 6) for _ in range(20_000)])
    assert (drawn.sum(axis=1) == 6).all()
    expected = stats.multinomial(6, np.full(6, 1 / 6)).cov()
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.03)
