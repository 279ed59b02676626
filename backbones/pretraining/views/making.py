"""Views of one size of a batch of images, made together; only who is drawn for an operation pays for it."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Preprocess
from backbones.pretraining.method import View
from backbones.pretraining.views import colour
from backbones.pretraining.views.blur import blur, radius
from backbones.pretraining.views.cutting import Cut
from backbones.pretraining.views.parameters import Parameters, joined


def make_views(
    cut: Cut, shapes: NDArray[np.int64], wanted: list[Parameters], size: int, preprocess: Preprocess
) -> list[View]:
    """One view for each of ``wanted``, of all images, whose (height, width) are ``shapes``."""
    boxes, flip = (np.stack(each) for each in zip(*((one.boxes, one.flip) for one in wanted), strict=True))
    images = _normalised(varied(cut(boxes, flip, size), joined(wanted)), preprocess)
    shares = torch.from_numpy((boxes / np.tile(shapes, 2)).astype(np.float32)).to(images.device)
    return list(map(View, images.chunk(len(wanted)), shares, torch.from_numpy(flip).to(images.device)))


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
        images.index_copy_(0, at, operation(images.index_select(0, at), *each))


def _normalised(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Channels-last."""
    mean, std = (
        torch.tensor(values, device=images.device).view(3, 1, 1) for values in (preprocess.mean, preprocess.std)
    )
    return images.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
