import numpy as np
import pytest
from scipy import stats

from results.statistics.friedman import critical_difference, friedman


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_scipys(ties: bool) -> None:
    scores = np.random.default_rng(0).normal(size=(9, 5)) + np.linspace(0, 1, 5)
    scores = scores.round(0) if ties else scores
    expected = stats.friedmanchisquare(*scores.T)
    found = friedman(scores)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    np.testing.assert_allclose(found.mean_ranks, stats.rankdata(-scores, axis=1).mean(axis=0))


@pytest.mark.parametrize(("backbones", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_demsars_table_5(backbones: int, quantile: float) -> None:
    expected = quantile * np.sqrt(backbones * (backbones + 1) / (6 * 20))
    assert critical_difference(20, backbones) == pytest.approx(expected, rel=5e-4)


def test_equals_differ_in_one_of_20_boards() -> None:
    generator = np.random.default_rng(1)
    found = [friedman(generator.normal(size=(30, 6))).differ().any() for _ in range(200)]
    assert 0.005 <= np.mean(found) <= 0.095


def test_all_ties_are_no_difference_and_too_little_is_an_error() -> None:
    found = friedman(np.ones((4, 3)))
    assert (found.statistic, found.p, found.differ().any()) == (0.0, 1.0, False)
    with pytest.raises(ValueError, match="3 backbones"):
        friedman(np.ones((4, 2)))
    with pytest.raises(ValueError, match="every backbone"):
        friedman(np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]))
