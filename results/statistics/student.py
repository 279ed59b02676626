"""A number with its standard error, by Student's t: interval and p-value, the same everywhere."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEVEL = 0.05


class Estimate(NamedTuple):
    """A value, its 95 % interval, the two-sided p-value of its being zero, and its standard error.

    The error is known with ``freedom`` degrees of freedom.
    """

    value: float
    low: float
    high: float
    p: float
    error: float
    freedom: float


def estimate(value: float, error: float, freedom: float) -> Estimate:
    """What a value with standard error ``error``, itself known with ``freedom`` degrees of freedom, says.

    >>> [round(number, 3) for number in estimate(2.0, 1.0, 10.0)]
    [2.0, -0.228, 4.228, 0.073, 1.0, 10.0]
    """
    from scipy.special import stdtrit  # a tenth of a second to import, and most boards need none of it

    margin = float(stdtrit(freedom, 1 - LEVEL / 2)) * error
    p = float(p_value(np.array(value), np.array(error), freedom))
    return Estimate(value, value - margin, value + margin, p, error, freedom)


def p_value(value: Float[np.ndarray, "*n"], error: Float[np.ndarray, "*n"], freedom: float) -> Float[np.ndarray, "*n"]:
    """Two-sided; without any spread it is 1 where the value is zero, and 0 elsewhere."""
    from scipy.special import stdtr

    ratio = np.abs(value) / np.where(error > 0, error, 1.0)
    certain = np.where(value == 0, 1.0, 0.0)
    return np.asarray(np.where(error > 0, 2 * stdtr(freedom, -ratio), certain))
