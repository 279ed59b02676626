import numpy as np
from scipy import stats

from results.statistics.correction import benjamini_hochberg, holm


def test_false_discovery_rate_is_scipys() -> None:
    p = np.random.default_rng(0).random(30) ** 3
    p[3] = p[7]
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))


def test_holm_rejects_what_stepping_down_by_hand_does() -> None:
    p = np.random.default_rng(1).random(20) ** 4
    adjusted = holm(p)
    for level in (0.001, 0.01, 0.05, 0.2, 0.5):
        rejected = set[int]()
        for step, index in enumerate(np.argsort(p)):
            if p[index] > level / (20 - step):
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(adjusted <= level)) == rejected
    assert adjusted.max() <= 1.0


def test_one_is_itself_and_none_is_none() -> None:
    for correct in (holm, benjamini_hochberg):
        assert correct(np.array([0.3])).tolist() == [0.3]
        assert correct(np.array([])).tolist() == []
