"""Noise: every pixel value for itself, so nothing here depends on the image's size."""

from functools import cache

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from scipy.stats import poisson

from tasks.datasets.corruptions.pixels import Pixels, to_pixels

GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation, of a range of 1
SHOT = (60, 25, 12, 5, 3)  # photons that make white
IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)  # share of values replaced
SPECKLE = (0.15, 0.2, 0.35, 0.45, 0.6)  # standard deviation, of the value itself


def gaussian_noise(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """x + N(0, c): low light."""
    values = generator.standard_normal(image.shape, dtype=np.float32)
    values *= np.float32(255 * GAUSSIAN[level - 1])
    values += image
    return to_pixels(values)


def speckle_noise(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """x + x N(0, c): the lighter, the noisier."""
    values = generator.standard_normal(image.shape, dtype=np.float32)
    values *= np.float32(SPECKLE[level - 1])
    values += 1
    values *= image
    return to_pixels(values)


def shot_noise(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Poisson(c x) / c: light comes in photons.

    Drawn by inverting the distribution function of each of the 256 means, by halving: counts above c are white all
    alike, so few steps do.
    """
    photons = SHOT[level - 1]
    table = _shares_below(photons)
    rows = image.reshape(-1).astype(np.int32) * table.shape[1]
    flat, drawn = table.reshape(-1), generator.random(image.size, dtype=np.float32)
    step = table.shape[1] // 2
    place = rows
    while step:
        place = place + step * (drawn >= flat[place + (step - 1)])
        step //= 2
    whole: Pixels = _values_of(photons)[place - rows].reshape(image.shape)
    return whole


@cache
def _shares_below(photons: int) -> NDArray[np.float32]:
    """P(count <= k) for each of the 256 means and k = 0, 1, ..., padded to a power of two with what is never passed."""
    counts = np.arange(photons)
    shares = poisson.cdf(counts[None], (np.arange(256) * photons / 255)[:, None])
    table = np.full((256, 1 << photons.bit_length()), 2.0)
    table[:, :photons] = shares
    return table.astype(np.float32)


@cache
def _values_of(photons: int) -> UInt8[np.ndarray, " counts"]:
    """The pixel value of each count; the last count is that many or more."""
    counts = np.arange(1 << photons.bit_length())
    return np.asarray(np.minimum(counts * 255 // photons, 255), dtype=np.uint8)


def impulse_noise(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """A share c of the values becomes 0 or 255, each as often: broken bits."""
    half = np.float32(IMPULSE[level - 1] / 2)
    drawn = generator.random(image.shape, dtype=np.float32)
    values = image.copy()
    values[drawn < half] = 0
    values[drawn >= 1 - half] = 255
    return values
