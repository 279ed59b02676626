"""What shapes a drop of water: how far each point is from a rim, spread over all grey levels and lit from one side."""

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from tasks.datasets.corruptions.pixels import Field


def capped_distance(points: Bool[np.ndarray, "height width"], cap: int) -> Field:
    """The distance in pixels of each place to the nearest of ``points``, ``cap`` where none is as near as that.

    Along lines first, then over lines up to ``cap`` away, the smallest sum of squares (Felzenszwalb and Huttenlocher,
    2012, with a window in place of the envelope: whole rows at a time, in 16 bits).

    >>> capped_distance(np.array([[True, False, False, False]]), 2).tolist()
    [[0.0, 1.0, 2.0, 2.0]]
    """
    cap = min(cap, 127)
    along = np.where(points, 0, cap).astype(np.int16)
    for _ in range(2):  # to the right, then the same turned round
        for reach in _doublings(cap):
            along[:, reach:] = np.minimum(along[:, reach:], along[:, :-reach] + np.int16(reach))
        along = along[:, ::-1]
    squares = along * along
    nearest = squares.copy()
    for away in range(1, min(cap, len(points) - 1) + 1):
        further = squares + np.int16(away * away)
        np.minimum(nearest[away:], further[:-away], out=nearest[away:])
        np.minimum(nearest[:-away], further[away:], out=nearest[:-away])
    return np.asarray(np.sqrt(np.minimum(nearest, cap * cap).astype(np.float32)))


def _doublings(cap: int) -> list[int]:
    """Steps whose sums reach every number up to ``cap``."""
    return [1 << power for power in range(cap.bit_length())]


def mean_of_nine(values: Field) -> Field:
    """The mean over 3 x 3, borders mirrored about the last pixel."""
    padded = np.pad(values, 1, mode="reflect")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 9), dtype=np.float32)


def equalised(grey: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Grey levels moved so that they are used as evenly as may be; one level alone stays."""
    counts = np.bincount(grey.reshape(-1), minlength=256)
    below = np.cumsum(counts)
    least = counts[np.flatnonzero(counts)[0]]
    if least == grey.size:
        return grey
    table: NDArray[np.uint8] = np.clip(np.round((below - least) * (255 / (grey.size - least))), 0, 255).astype(np.uint8)
    return np.asarray(np.take(table, grey))


def relief(grey: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Each level plus its rise from the upper left to the lower right, borders mirrored, cut to 0..255."""
    wide = np.pad(grey.astype(np.int16), 1, mode="reflect")
    corners = 2 * (wide[2:, 2:] - wide[:-2, :-2])
    sides = wide[1:-1, 2:] - wide[1:-1, :-2] + wide[2:, 1:-1] - wide[:-2, 1:-1]
    return np.asarray(np.clip(wide[1:-1, 1:-1] + corners + sides, 0, 255), dtype=np.uint8)
