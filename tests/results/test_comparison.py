"""Two backbones in one setting: each kind of what is kept of them, and the test it allows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from results.comparison import IncomparableError, compared
from results.items import Items
from results.record import Record
from results.statistics.components import components

NAMES = pa.array([f"item {number:03}" for number in range(60)])


def records_of(make: Any, name: str, values: list[float], **changes: Any) -> list[Record]:
    """A record for each seed."""
    return [make(name, value, seed=seed, **changes) for seed, value in enumerate(values)]


def none(record: Record) -> None:
    return None


def test_right_and_wrong_are_compared_by_mcnemar(make: Any) -> None:
    generator = np.random.default_rng(0)
    (one,), (two,) = records_of(make, "one", [0.8]), records_of(make, "two", [0.6])
    ours, others = (generator.random(60) < 0.8), (generator.random(60) < 0.5)
    items = {one.key: Items(NAMES, ours.astype(float)), two.key: Items(NAMES, others.astype(float))}
    found = compared([one], [two], lambda record: items[record.key])
    only = int((ours & ~others).sum()), int((others & ~ours).sum())
    assert found.test == "McNemar, exact"
    assert found.advantage.p == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    assert found.advantage.value == pytest.approx(ours.mean() - others.mean())
    expected = stats.bootstrap((ours * 1.0 - others,), np.mean, method="percentile", rng=1).confidence_interval
    assert (found.advantage.low, found.advantage.high) == pytest.approx(tuple(expected), abs=0.02)
    assert found.advantage.error == pytest.approx(stats.sem(ours * 1.0 - others))
    assert (found.items, found.seeds) == (60, (1, 1))


@pytest.mark.parametrize("higher", [True, False])
def test_other_numbers_are_compared_by_flipping_signs_in_the_metrics_sense(make: Any, higher: bool) -> None:
    generator = np.random.default_rng(1)
    (one,), (two,) = (records_of(make, name, [0.5], higher_is_better=higher) for name in ("one", "two"))
    theirs = generator.random(60)
    mine = theirs + generator.normal(0.1, 0.2, 60)
    items = {one.key: Items(NAMES, mine), two.key: Items(NAMES, theirs)}
    found = compared([one], [two], lambda record: items[record.key])
    assert found.test == "sign flips"
    assert found.advantage.value == pytest.approx((mine - theirs).mean() * (1 if higher else -1))
    assert found.advantage.p == pytest.approx(stats.ttest_rel(mine, theirs).pvalue, abs=0.005)
    assert (found.mine, found.theirs) == pytest.approx((mine.mean(), theirs.mean()))


def test_seeds_that_both_have_are_part_of_the_noise(make: Any) -> None:
    generator = np.random.default_rng(2)
    ours, others = records_of(make, "one", [0.5] * 3), records_of(make, "two", [0.5] * 4)
    items = {record.key: Items(NAMES, generator.random(60) + generator.normal(0, 0.1)) for record in (*ours, *others)}
    found = compared(ours, others, lambda record: items[record.key])
    values = np.stack([items[a.key].values - items[b.key].values for a, b in zip(ours, others[:3], strict=True)])
    assert found.advantage == components(values).estimate()
    assert found.seeds == (3, 3)
    assert found.per_seed == pytest.approx(components(values).per_seed())


def test_seeds_of_one_alone_are_averaged(make: Any) -> None:
    generator = np.random.default_rng(3)
    ours, others = records_of(make, "one", [0.5] * 3), records_of(make, "two", [0.5])
    items = {record.key: Items(NAMES, generator.random(60)) for record in (*ours, *others)}
    found = compared(ours, others, lambda record: items[record.key])
    mean = np.mean([items[record.key].values for record in ours], axis=0)
    assert found.advantage.value == pytest.approx((mean - items[others[0].key].values).mean())
    assert (found.test, found.seeds, found.per_seed) == ("sign flips", (3, 1), None)


def test_without_items_it_is_over_seeds(make: Any) -> None:
    x, y = [0.5, 0.6, 0.55], [0.4, 0.45, 0.5]
    found = compared(records_of(make, "one", x), records_of(make, "two", y), none)
    assert found.advantage.p == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert (found.items, found.test) == (None, "paired t over seeds")
    others = [make("two", value, seed=seed) for seed, value in enumerate(y, start=3)]
    found = compared(records_of(make, "one", x), others, none)
    assert found.advantage.p == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)
    assert found.test == "Welch's t over seeds"


def test_what_leaves_nothing_to_compare_by_says_so(make: Any) -> None:
    one, two = records_of(make, "one", [0.5]), records_of(make, "two", [0.4])
    with pytest.raises(IncomparableError, match="no items are kept of it, and one seed has no spread"):
        compared(one, two, none)
    items = {one[0].key: Items(NAMES, np.zeros(60)), two[0].key: Items(NAMES.take(list(range(59))), np.zeros(59))}
    with pytest.raises(IncomparableError, match="other test items"):
        compared(one, two, lambda record: items[record.key])
    with pytest.raises(IncomparableError, match="the same of every seed"):
        compared(records_of(make, "one", [0.5, 0.5]), records_of(make, "two", [0.4, 0.4]), none)
    bad = {record.key: Items(NAMES, np.full(60, np.nan)) for record in (*one, *two)}
    with pytest.raises(IncomparableError, match="finite"):
        compared(one, two, lambda record: bad[record.key])
