import numpy as np
import pytest
from scipy import stats

from results.statistics.power import detectable, more_seeds


@pytest.mark.parametrize(("freedom", "level"), [(1, 0.05), (2, 0.001), (4, 0.05), (30, 0.01), (5000, 0.0005)])
def test_it_is_found_with_the_power_it_says(freedom: int, level: float) -> None:
    shift = detectable(1.0, freedom, level)
    assert stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, shift) == pytest.approx(0.8, abs=1e-4)
    assert detectable(0.5, freedom, level) == shift / 2


def test_simulated_comparisons_find_it_four_times_of_five() -> None:
    generator = np.random.default_rng(0)
    shift = detectable(2.0 / np.sqrt(25), 24)
    samples = generator.normal(shift, 2.0, size=(4000, 25))
    assert (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)


def test_seeds_that_would_settle_it_are_the_fewest_that_do() -> None:
    more = more_seeds(0.5, 1.0, 3)
    assert more is not None
    assert detectable(np.sqrt(1.0 / (3 + more)), 2 + more) <= 0.5
    assert detectable(np.sqrt(1.0 / (2 + more)), 1 + more) > 0.5
    assert more_seeds(0.5, 1.0, 100) == 0
    assert more_seeds(-0.5, 1.0, 3) == more


def test_items_noise_is_not_taken_away_by_seeds() -> None:
    assert more_seeds(0.5, 1.0, 3, items_part=0.05) is None
    assert more_seeds(0.5, 1.0, 3, items_part=0.02) > more_seeds(0.5, 1.0, 3)  # type: ignore[operator]
    assert more_seeds(0.5, 0.0, 1, items_part=0.01) == 1
