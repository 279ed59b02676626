"""Sums over neighbours: Gaussians one axis after the other, a kernel of any shape, and a trail of shifted copies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.fft
from jaxtyping import Float32
from numpy.typing import NDArray
from scipy.linalg.blas import saxpy

from tasks.datasets.corruptions.pixels import Values

Border = Literal["edge", "symmetric"]
_BLOCK = 32


def gaussian_weights(sigma: float, truncate: float = 4.0) -> NDArray[np.float64]:
    """Of the offsets -r..r, r being ``truncate`` sigma rounded; their sum is one.

    >>> gaussian_weights(0.1).tolist()
    [1.0]
    """
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def gaussian(
    values: Float32[np.ndarray, "height width *channels"],
    sigma: float,
    truncate: float = 4.0,
    border: Border = "edge",
) -> Float32[np.ndarray, "height width *channels"]:
    """Blurred along both axes; the result is a view of memory of its own."""
    once = _along_rows(values, sigma, truncate, border)
    turned = np.ascontiguousarray(once.swapaxes(0, 1))
    return _along_rows(turned, sigma, truncate, border).swapaxes(0, 1)


def _along_rows(values: NDArray[np.float32], sigma: float, truncate: float, border: Border) -> NDArray[np.float32]:
    """Blocks of rows times one small matrix that holds the weights on its diagonals: BLAS is far quicker than a filter.

    The matrix grows with the block and the kernel, never with the image.
    """
    matrix = _diagonals(sigma, truncate)
    height, reach = len(values), matrix.shape[1] - _BLOCK
    blocks = -(-height // _BLOCK)
    flat = values.reshape(height, -1)
    padded = np.pad(flat, ((reach // 2, reach // 2 + blocks * _BLOCK - height), (0, 0)), mode=border)
    out = np.empty((blocks * _BLOCK, flat.shape[1]), np.float32)
    for start in range(0, len(out), _BLOCK):
        np.matmul(matrix, padded[start : start + _BLOCK + reach], out=out[start : start + _BLOCK])
    return out[:height].reshape(values.shape)


@lru_cache(maxsize=64)
def _diagonals(sigma: float, truncate: float) -> NDArray[np.float32]:
    weights = gaussian_weights(sigma, truncate)
    matrix = np.zeros((_BLOCK, _BLOCK + len(weights) - 1), np.float32)
    for row in range(_BLOCK):
        matrix[row, row : row + len(weights)] = weights
    return matrix


@dataclass(frozen=True)
class Spectrum:
    """The Fourier transform of a kernel, for images of one size: how far it reaches, and what size it was padded to."""

    reach: tuple[int, int]
    padded: tuple[int, int]
    values: NDArray[np.complex64] = field(repr=False)


def spectrum_of(kernel: NDArray[np.float64], size: tuple[int, int]) -> Spectrum:
    """Of a kernel of odd sides that is the same turned half round, for images of this (height, width)."""
    reach = kernel.shape[0] // 2, kernel.shape[1] // 2
    tall, wide = (scipy.fft.next_fast_len(side + 2 * way, real=True) for side, way in zip(size, reach, strict=True))
    return Spectrum(reach, (tall, wide), scipy.fft.rfft2(kernel.astype(np.float32), (tall, wide)))


def filtered(values: Values, kernel: Spectrum) -> Values:
    """Each channel correlated with a kernel, borders mirrored; float32 errs by less than a thousandth of a value."""
    (tall, wide), (height, width) = kernel.reach, values.shape[:2]
    padded = np.pad(values.transpose(2, 0, 1), ((0, 0), (tall, tall), (wide, wide)), mode="reflect")
    spectrum = scipy.fft.rfft2(padded, kernel.padded)
    spectrum *= kernel.values
    whole = scipy.fft.irfft2(spectrum, kernel.padded)
    return np.ascontiguousarray(whole[:, 2 * tall : 2 * tall + height, 2 * wide : 2 * wide + width].transpose(1, 2, 0))


def trail(
    values: Float32[np.ndarray, "height width channels"],
    shifts: Sequence[tuple[int, int]],
    weights: Sequence[float],
) -> Float32[np.ndarray, "height width channels"]:
    """The weighted sum of copies moved by (down, right); what moves in from outside repeats the edge."""
    height, width, channels = values.shape
    down, right = zip(*shifts, strict=True)
    top, left = max(0, *down), max(0, *right)
    padded = np.pad(values, ((top, max(0, -min(down))), (left, max(0, -min(right))), (0, 0)), mode="edge")
    line = padded.shape[1] * channels
    total = np.zeros((height, padded.shape[1], channels), np.float32)
    flat, count = padded.reshape(-1), (height - 1) * line + width * channels
    for (dy, dx), weight in zip(shifts, weights, strict=True):  # in flat memory every shift is one offset
        saxpy(flat, total.reshape(-1), n=count, a=weight, offx=(top - dy) * line + (left - dx) * channels)
    return total[:, :width]
