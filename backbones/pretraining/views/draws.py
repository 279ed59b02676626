"""The chance in a view: a row of uniform numbers, each of which has its use."""

import numpy as np
from numpy.typing import NDArray

TRIES = 10
"""Crops that are tried, as torchvision does, before the central one is taken."""
AREA, ASPECT = slice(0, TRIES), slice(TRIES, 2 * TRIES)
TOP, LEFT, FLIP, JITTER, GREY, BLUR, SIGMA, SOLARISE = range(2 * TRIES, 2 * TRIES + 8)
FACTORS, ORDER = slice(2 * TRIES + 8, 2 * TRIES + 12), slice(2 * TRIES + 12, 2 * TRIES + 16)
"""Of brightness, contrast, saturation and hue: how much, and which comes first (the lowest does)."""
NUMBERS = 2 * TRIES + 16


def draw(seed: int, epoch: int, index: int, views: int) -> NDArray[np.float64]:
    """(views, numbers), uniform in [0, 1): the same for the same arguments on every machine.

    Raw bits, which NumPy keeps for ever, of a generator that counts: every (seed, epoch, index) is a stream of its own.
    """
    bits = np.random.Philox(key=[seed, epoch], counter=[0, index, 0, 0]).random_raw(views * NUMBERS)
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53, np.float64).reshape(views, NUMBERS)
