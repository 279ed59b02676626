"""The normalisation after a convolution of a head."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn
from torchvision.models.convnext import LayerNorm2d

Norm = Literal["none", "batch", "layer"]
"""``layer`` is over the channels of each pixel, as in ViTDet; ``none`` leaves the convolution its bias."""


def norm_layer(norm: Norm) -> Callable[[int], nn.Module] | None:
    """What makes it for a number of channels."""
    return {"none": None, "batch": nn.BatchNorm2d, "layer": partial(LayerNorm2d, eps=1e-6)}[norm]
