import numpy as np
import pytest
from scipy import stats

from results.statistics.student import estimate, p_value


def test_it_is_scipys_t_test() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, 12)
    expected = stats.ttest_1samp(values, 0)
    found = estimate(values.mean(), values.std(ddof=1) / np.sqrt(12), 11)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_without_spread_only_what_is_zero_may_be_zero() -> None:
    assert p_value(np.array([0.0, 0.1, -0.1]), np.zeros(3), 5).tolist() == [1.0, 0.0, 0.0]
