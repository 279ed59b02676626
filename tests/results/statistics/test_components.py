import numpy as np
import pytest

from results.statistics.components import components


def simulated(
    generator: np.random.Generator, seeds: int, items: int, spreads: tuple[float, float, float]
) -> np.ndarray:
    """Values of mean zero whose parts from items, seeds and the rest have these standard deviations."""
    of_items, of_seeds, rest = spreads
    return (
        of_items * generator.normal(size=items)
        + of_seeds * generator.normal(size=(seeds, 1))
        + rest * generator.normal(size=(seeds, items))
    )


def test_parts_are_found_again() -> None:
    found = components(simulated(np.random.default_rng(0), 400, 400, (2.0, 1.0, 0.5)))
    assert (found.items, found.seeds, found.rest) == pytest.approx((4.0, 1.0, 0.25), rel=0.2)


def test_the_errors_square_is_what_the_parts_add_up_to_also_where_one_is_none() -> None:
    generator = np.random.default_rng(1)
    without = set()
    for _ in range(60):
        found = components(simulated(generator, 3, 8, (0.2, 0.2, 1.0)))
        assert found.error**2 == pytest.approx(found.items / 8 + found.seeds / 3 + found.rest / 24)
        assert found.error**2 == pytest.approx(found.items_part() + found.per_seed() / 3)
        assert sum(found.shares()) == pytest.approx(1.0)
        without.add((found.items == 0, found.seeds == 0))
    assert len(without) == 4


@pytest.mark.parametrize("spreads", [(1.0, 0.0, 1.0), (1.0, 0.1, 0.5), (0.3, 0.3, 0.5), (0.0, 0.3, 1.0)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(spreads: tuple[float, float, float], seeds: int) -> None:
    generator = np.random.default_rng(2)
    found = [components(simulated(generator, seeds, 150, spreads)).estimate() for _ in range(1500)]
    hits = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.92 <= hits <= 0.98


def test_items_alone_would_cover_it_too_seldom() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        by_item = simulated(generator, 3, 150, (1.0, 0.2, 0.5)).mean(axis=0)
        hits += abs(by_item.mean()) <= 1.96 * by_item.std(ddof=1) / np.sqrt(150)
    assert hits / 300 < 0.85


def test_seeds_that_change_nothing_leave_the_t_test_over_items() -> None:
    values = np.random.default_rng(4).normal(0.2, 1, 40)
    found = components(np.stack([values, values, values]))
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    assert found.freedom == pytest.approx(39)
    assert found.shares() == pytest.approx((1.0, 0.0, 0.0))


def test_one_seed_has_no_components_and_equal_values_none_to_speak_of() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        components(np.ones((1, 5)))
    found = components(np.zeros((2, 5)))
    assert found.estimate()[:5] == (0.0, 0.0, 0.0, 1.0, 0.0)
    assert found.shares() == (0.0, 0.0, 0.0)
