import numpy as np
import pytest
from scipy import stats

from results.statistics.over_seeds import over_paired_seeds, over_unpaired_seeds


def test_they_are_scipys() -> None:
    generator = np.random.default_rng(0)
    mine, theirs = generator.normal(0.5, 1, 5), generator.normal(0, 3, 8)
    paired, welch = stats.ttest_rel(mine, theirs[:5]), stats.ttest_ind(mine, theirs, equal_var=False)
    for found, expected in [
        (over_paired_seeds(mine - theirs[:5]), paired),
        (over_unpaired_seeds(mine, theirs), welch),
    ]:
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_one_seed_has_no_spread() -> None:
    with pytest.raises(ValueError, match="two at least"):
        over_paired_seeds(np.ones(1))
    with pytest.raises(ValueError, match="two at least of each"):
        over_unpaired_seeds(np.ones(3), np.ones(1))


def test_seeds_that_change_nothing_leave_certainty() -> None:
    assert over_unpaired_seeds(np.ones(2), np.ones(3))[:5] == (0.0, 0.0, 0.0, 1.0, 0.0)
