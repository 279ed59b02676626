"""From uniform numbers to what is done to each image: boxes, factors, who is blurred; arithmetic on the CPU."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbones.pretraining.views import draws
from backbones.pretraining.views.settings import ViewGroup

OPERATIONS = ("brightness", "contrast", "saturation", "hue")
NONE = -1
"""In an order of operations: nothing."""
VIEW_OF_SIGMAS = 224
"""The side, in pixels, of the views whose blur the settings give."""

Row = NDArray[np.float64]


class Parameters(NamedTuple):
    """Of n views, one row each.

    ``boxes``: (top, left, height, width) in pixels. ``order``: which of :data:`OPERATIONS` comes first, second, ...,
    or :data:`NONE`, and ``factors`` theirs (by operation). ``sigma``: of the blur, in pixels of the view, 0 for none.
    """

    boxes: NDArray[np.int64]
    flip: NDArray[np.bool_]
    order: NDArray[np.int64]
    factors: Row
    grey: NDArray[np.bool_]
    sigma: Row
    solarise: NDArray[np.bool_]


def parameters(
    numbers: Row, heights: NDArray[np.int64], widths: NDArray[np.int64], group: ViewGroup, size: int
) -> Parameters:
    """Of images of these sizes, by one row of numbers each, for views of ``size`` pixels."""
    blurred = numbers[:, draws.BLUR] < group.blur
    sigma = _between(*group.blur_sigma, numbers[:, draws.SIGMA]) * size / VIEW_OF_SIGMAS
    return Parameters(
        boxes=crop_boxes(numbers, heights, widths, group.crop_scale, group.crop_ratio),
        flip=numbers[:, draws.FLIP] < group.flip,
        order=_order(numbers, group),
        factors=_factors(numbers, group),
        grey=numbers[:, draws.GREY] < group.grey,
        sigma=np.where(blurred, sigma, 0.0),
        solarise=numbers[:, draws.SOLARISE] < group.solarise,
    )


def joined(parts: list[Parameters]) -> Parameters:
    """One after the other."""
    return Parameters(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def crop_boxes(
    numbers: Row,
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> NDArray[np.int64]:
    """torchvision's RandomResizedCrop: the first of ten tries that fits, else the central crop of an allowed aspect."""
    height, width = heights[:, None], widths[:, None]
    area = height * width * _between(*scale, numbers[:, draws.AREA])
    aspect = np.exp(_between(np.log(ratio[0]), np.log(ratio[1]), numbers[:, draws.ASPECT]))
    tried = np.stack([np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))], axis=-1).astype(np.int64)
    fits = (tried.min(-1) > 0) & (tried[..., 0] <= height) & (tried[..., 1] <= width)
    some = fits.max(1, keepdims=True)
    first = np.take_along_axis(tried, fits.argmax(1)[:, None, None], axis=1)[:, 0]
    cut = np.where(some, first, _central(heights, widths, ratio))
    room = np.stack([heights, widths], axis=1) - cut
    drawn = np.floor(numbers[:, [draws.TOP, draws.LEFT]] * (room + 1)).astype(np.int64)
    corner = np.where(some, drawn, room // 2)
    return np.concatenate([corner, cut], axis=1)


def _central(heights: NDArray[np.int64], widths: NDArray[np.int64], ratio: tuple[float, float]) -> NDArray[np.int64]:
    lowest, highest = ratio
    aspect = widths / heights
    height = np.where(aspect < lowest, np.rint(widths / lowest), heights)
    width = np.where(aspect > highest, np.rint(heights * highest), widths)
    return np.stack([height, width], axis=1).astype(np.int64)


def _order(numbers: Row, group: ViewGroup) -> NDArray[np.int64]:
    """An operation that has no strength, and everything where there is no jitter, is left out."""
    order = np.argsort(numbers[:, draws.ORDER], axis=1)
    strengths = np.array([getattr(group, operation) for operation in OPERATIONS])
    done = (strengths[order] > 0) & (numbers[:, [draws.JITTER]] < group.jitter)
    return np.where(done, order, NONE)


def _factors(numbers: Row, group: ViewGroup) -> Row:
    strengths = [group.brightness, group.contrast, group.saturation]
    lowest = [*(max(0.0, 1 - strength) for strength in strengths), -group.hue]
    highest = [*(1 + strength for strength in strengths), group.hue]
    return _between(np.array(lowest), np.array(highest), numbers[:, draws.FACTORS])


def _between(low: float | Row, high: float | Row, number: Row) -> Row:
    return np.asarray(low + (high - low) * number)
