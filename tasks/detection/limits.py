"""Numbers made of several metrics, with 95 % intervals made of theirs: a metric over images is not drawn again.

The method of variance estimates recovery (Zou and Donner 2008): of a sum of independent estimates, each side's distance
to its limit is the root of the summed squares of theirs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Limited(NamedTuple):
    """A number and its 95 % interval, where it has one."""

    value: float
    interval: tuple[float, float] | None


def difference(first: Limited, second: Limited) -> Limited:
    """``first`` less ``second``, of different images. Of the same images they move together: it is too wide then.

    >>> difference(Limited(5.0, (4.0, 7.0)), Limited(3.0, (3.0, 3.0)))
    Limited(value=2.0, interval=(1.0, 4.0))
    """
    value = first.value - second.value
    if first.interval is None or second.interval is None:
        return Limited(value, None)
    down, up = (abs(first.value - limit) for limit in first.interval)
    others_down, others_up = (abs(second.value - limit) for limit in second.interval)
    low, high = value - np.hypot(down, others_up), value + np.hypot(up, others_down)
    return Limited(value, (float(low), float(high)))


def mean_of_others(several: Sequence[Limited]) -> Limited:
    """The mean over different images, each set weighing the same."""
    value = float(np.mean([each.value for each in several]))
    intervals = [each.interval for each in several if each.interval is not None]
    if len(intervals) < len(several):
        return Limited(value, None)
    sides = np.abs(np.asarray(intervals) - np.asarray([[each.value] for each in several]))
    down, up = np.sqrt((sides**2).sum(axis=0)) / len(several)
    return Limited(value, (value - float(down), value + float(up)))


def mean_of_same(several: Sequence[Limited]) -> Limited:
    """The mean over the same images (corrupted one way and another): as if all went up and down together."""
    value = float(np.mean([each.value for each in several]))
    intervals = [each.interval for each in several if each.interval is not None]
    if len(intervals) < len(several):
        return Limited(value, None)
    low, high = np.mean(intervals, axis=0)
    return Limited(value, (float(low), float(high)))
