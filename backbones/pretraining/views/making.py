"""Views of one size of a batch of images, made together; only who is drawn for an operation pays for it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Num
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Preprocess
from backbones.pretraining.method import View
from backbones.pretraining.views import colour
from backbones.pretraining.views.blur import blur, radius
from backbones.pretraining.views.parameters import Parameters
from backbones.pretraining.views.resampling import resampled


class Source(NamedTuple):
    """Decoded images on the device, in one tensor as large as the largest; ``shapes`` are (height, width)."""

    pixels: Num[Tensor, "batch height 3 width"]
    shapes: NDArray[np.int64]


def make_views(source: Source, wanted: Parameters, size: int, preprocess: Preprocess) -> list[View]:
    """``wanted`` are those of the first view of every image, of the second, ...: so come the views."""
    count = len(source.shapes)
    views = len(wanted.flip) // count
    device = source.pixels.device
    boxes, flip = (torch.from_numpy(each).to(device) for each in (wanted.boxes, wanted.flip))
    by_image = boxes.view(views, count, 4).transpose(0, 1).contiguous(), flip.view(views, count).T.contiguous()
    images = resampled(source.pixels, *by_image, size).transpose(0, 1).reshape(-1, 3, size, size).div_(255)
    images = _normalised(varied(images, wanted), preprocess)
    shares = boxes / torch.from_numpy(np.tile(source.shapes, (views, 2))).to(device)
    fields = (each.chunk(views) for each in (images, shares.float(), flip))
    return [View(*view) for view in zip(*fields, strict=True)]


def varied(images: Float[Tensor, "batch 3 size size"], wanted: Parameters) -> Float[Tensor, "batch 3 size size"]:
    """Jitter, grey, blur and solarisation, in place; values in [0, 1]."""
    for turn in wanted.order.T:
        for number, operation in enumerate(colour.JITTER):
            _apply(images, turn == number, operation, wanted.factors[:, number])
    _apply(images, wanted.grey, lambda some: colour.grey(some).expand_as(some))
    if radius(images.shape[-1]):
        _apply(images, wanted.sigma > 0, blur, wanted.sigma)
    _apply(images, wanted.solarise, colour.solarise)
    return images


def _apply(
    images: Tensor, chosen: NDArray[np.bool_], operation: Callable[..., Tensor], *numbers: NDArray[np.float64]
) -> None:
    """To those that are chosen, in place."""
    (rows,) = np.nonzero(chosen)
    if len(rows):
        at = torch.from_numpy(rows).to(images.device)
        each = (torch.from_numpy(one[rows].astype(np.float32)).to(images.device) for one in numbers)
        images[at] = operation(images[at], *each)


def _normalised(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Channels-last."""
    mean, std = (
        torch.tensor(values, device=images.device).view(3, 1, 1) for values in (preprocess.mean, preprocess.std)
    )
    return images.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)


def by_size(sizes: Sequence[int]) -> dict[int, list[int]]:
    """Which views have each size."""
    return {size: [view for view, other in enumerate(sizes) if other == size] for size in dict.fromkeys(sizes)}
