from itertools import product

import numpy as np
import pytest
from scipy import stats

from results.statistics import NORMAL_FROM
from results.statistics.paired import mcnemar, paired_margin, sign_flips


def test_mcnemar_is_the_binomial_test_of_the_items_that_only_one_got_right() -> None:
    generator = np.random.default_rng(0)
    mine, theirs = generator.random(200) < 0.7, generator.random(200) < 0.6
    only = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    assert mcnemar(mine, theirs) == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    assert mcnemar(mine, theirs) == mcnemar(theirs, mine)
    assert mcnemar(mine, mine) == 1.0
    balanced = np.array([True, False])
    assert mcnemar(balanced, ~balanced) == 1.0


def test_few_differences_are_flipped_in_every_way() -> None:
    seen = np.random.default_rng(1).normal(0.4, 1, 9)
    sums = [abs(np.dot(signs, seen)) for signs in product([-1, 1], repeat=9)]
    found = sign_flips(np.concatenate([seen, np.zeros(50)]))
    assert found.p == pytest.approx(np.mean([each >= abs(seen.sum()) - 1e-12 for each in sums]))
    assert found.resolution == 2 / 2**9
    assert sign_flips(np.ones(9)) == (2 / 2**9, 2 / 2**9)
    assert sign_flips(np.zeros(9)).p == 1.0


@pytest.mark.parametrize("kind", ["continuous", "levels"])
def test_more_are_drawn_as_scipy_draws_them(kind: str) -> None:
    generator = np.random.default_rng(2)
    seen = generator.normal(0.15, 1, 120) if kind == "continuous" else generator.choice([-0.5, 0.5, 1.0], 120) - 0.2
    expected = stats.permutation_test(
        (seen,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(3)
    ).pvalue
    found = sign_flips(seen)
    assert found.p == pytest.approx(expected, abs=4 * np.sqrt(expected / 10_000) + 1e-4)
    assert found == sign_flips(seen)
    assert sign_flips(seen + 5) == (1e-4, 1e-4)


def test_of_right_and_wrong_it_is_mcnemars() -> None:
    generator = np.random.default_rng(4)
    mine, theirs = generator.random(300) < 0.7, generator.random(300) < 0.6
    exact = mcnemar(mine, theirs)
    assert sign_flips(mine.astype(float) - theirs).p == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))


def test_very_many_have_the_normal_limit() -> None:
    seen = np.random.default_rng(5).exponential(size=NORMAL_FROM) - 0.985
    many, fewer = sign_flips(seen), sign_flips(seen[:-1])
    assert many.resolution == 0.0
    assert fewer.resolution > 0
    assert many.p == pytest.approx(fewer.p, abs=0.015)


def test_p_values_of_equals_are_uniform() -> None:
    generator = np.random.default_rng(6)
    p = [sign_flips(generator.laplace(size=40)).p for _ in range(100)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_margin_is_that_of_the_one_sided_t_test() -> None:
    values = np.random.default_rng(7).normal(size=30)
    margin = paired_margin(values)
    assert stats.ttest_1samp(values - values.mean() + margin, 0, alternative="greater").pvalue == pytest.approx(0.05)
    assert paired_margin([1.0]) is None
