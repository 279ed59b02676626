import numpy as np
from scipy import stats

from results.statistics.scores import ranks, z_scores


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
