"""What every corruption stands on: how long a length is in an image of this size, and how numbers become pixels."""

import numpy as np
from jaxtyping import Float32, UInt8

Pixels = UInt8[np.ndarray, "height width 3"]
Values = Float32[np.ndarray, "height width 3"]
"""Of pixels, in 0..255; a corruption may leave that range until :func:`to_pixels` clips it."""
Field = Float32[np.ndarray, "height width"]

REFERENCE_SIDE, SMALLEST_SIDE = 224, 32
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
_ROUNDING = 1e-3


def scale_of(image: Pixels) -> float:
    """By what lengths are multiplied: the shorter side over 224, sides under 32 counting as 32.

    >>> scale_of(np.zeros((448, 600, 3), np.uint8)), scale_of(np.zeros((8, 8, 3), np.uint8)) == 32 / 224
    (2.0, True)
    """
    height, width, _ = image.shape
    return float(max(min(height, width), SMALLEST_SIDE)) / REFERENCE_SIDE


def to_pixels(values: Values) -> Pixels:
    """Clipped to 0..255 and cut to whole numbers, as the published sets were; ``values`` is used up.

    What lies within a thousandth below a whole number is that number: float32 is no finer after a few sums.
    """
    values += np.float32(_ROUNDING)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def three(field: Field) -> Values:
    """The same value in each channel. Three strided copies take a third of the time of broadcasting in arithmetic."""
    values = np.empty((*field.shape, 3), np.float32)
    for channel in range(3):
        values[..., channel] = field
    return values
