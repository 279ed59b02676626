"""What a comparison could have seen, and what it would take to see more."""

import math

from results.statistics.student import LEVEL

POWER = 0.8
MOST_SEEDS = 1000
KNOWN = 1e6
"""Degrees of freedom of a spread that is as good as known."""


def detectable(error: float, freedom: float, level: float = LEVEL, power: float = POWER) -> float:
    """The true difference that a two-sided t-test at ``level`` finds with probability ``power``.

    ``error`` is the standard error of the difference, known with ``freedom`` degrees of freedom.

    >>> round(detectable(1.0, 99), 2), round(detectable(1.0, 2), 2)
    (2.83, 5.65)
    """
    from scipy.special import nctdtrinc, stdtrit

    return float(nctdtrinc(freedom, 1 - power, stdtrit(freedom, 1 - level / 2))) * error


def more_seeds(
    difference: float, per_seed: float, seeds: int, items_part: float = 0.0, level: float = LEVEL
) -> int | None:
    """How many seeds beside the ``seeds`` there are would find a true difference of this size, with 80 % power.

    ``per_seed`` is the variance of the difference from seed to seed, ``items_part`` the variance that comes from the
    test items, which no seed takes away and which is taken as known. None where a thousand seeds would not do: that
    takes more items.
    """

    def seen(number: int) -> bool:
        from_seeds = per_seed / number
        variance = items_part + from_seeds
        freedom = (variance / from_seeds) ** 2 * (number - 1) if from_seeds > 0 else KNOWN
        return detectable(math.sqrt(variance), min(freedom, KNOWN), level) <= abs(difference)

    if not seen(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # one has no spread; with the most it is seen
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return max(0, high - seeds)
