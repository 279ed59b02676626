"""How images and their maps of classes are scaled, cropped and padded: settings, and plain functions of sizes."""

from typing import Annotated, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import interpolate

from backbones.base import Interpolation
from backbones.preprocessing import resize

MULTIPLE = 32
"""Whole images are padded to a multiple of it, so that the maps of the usual strides lie on each other."""
LONGEST = 4
"""Sides: a longer image is made smaller, lest a strip become huge (512 x 2048 is the usual limit of ADE20K)."""

Positive = Annotated[float, Field(gt=0)]
Image = UInt8[Tensor, "3 _ _"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Geometry:
    """What the network sees: to learn from, random crops of ``side`` squared; to be judged by, whole images.

    An image's shorter side is made ``side`` pixels, its aspect ratio kept, its longer side at most four times as long.
    To learn from, it is a factor out of ``scale`` larger (uniformly drawn), a square is cut out of it at random and,
    with probability ``flip``, mirrored; what is beyond the image is zero and of no class.
    """

    side: int = Field(default=512, ge=MULTIPLE)
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _scale_in_order(self) -> "Geometry":
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be (lowest, highest), not {self.scale}")
        return self


class Crop(NamedTuple):
    """A box of the image, the size it is resized to, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    mirrored: bool


def factor_of(height: int, width: int, side: int) -> float:
    """What an image is scaled by.

    >>> factor_of(480, 640, 240), factor_of(10, 1000, 100)
    (0.5, 0.4)
    """
    return min(side / min(height, width), LONGEST * side / max(height, width))


def whole_size(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) at which a whole image is judged, before padding.

    >>> whole_size(480, 640, 240), whole_size(1, 1000, 100)
    ((240, 320), (1, 400))
    """
    factor = factor_of(height, width, side)
    return max(1, round(height * factor)), max(1, round(width * factor))


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next multiple in both directions.

    >>> padded_size(64, 65)
    (64, 96)
    """
    return height + -height % MULTIPLE, width + -width % MULTIPLE


def draw(geometry: Geometry, height: int, width: int, generator: np.random.Generator) -> Crop:
    """A crop of an image of that size. The box is cut before it is resized: the rest would be resized in vain."""
    factor = factor_of(height, width, geometry.side) * generator.uniform(*geometry.scale)
    rows, columns = (min(length, max(1, round(geometry.side / factor))) for length in (height, width))
    top, left = (int(generator.integers(0, more + 1)) for more in (height - rows, width - columns))
    size = tuple(min(geometry.side, max(1, round(length * factor))) for length in (rows, columns))
    return Crop(top, left, rows, columns, (size[0], size[1]), bool(generator.random() < geometry.flip))


def cut(image: Image, crop: Crop, interpolation: Interpolation) -> Image:
    """The crop of an image."""
    resized = resize(_box(image, crop), crop.size, interpolation)
    return resized.flip(2) if crop.mirrored else resized


def cut_map(labels: UInt8[Tensor, "height width"], crop: Crop) -> UInt8[Tensor, "rows columns"]:
    """The same of the class of each pixel: that of the nearest one, since classes have no mean."""
    resized = interpolate(_box(labels[None], crop)[None], size=crop.size, mode="nearest-exact")[0, 0]
    return resized.flip(1) if crop.mirrored else resized


def filled(pixels: UInt8[Tensor, "rows columns 3"], size: tuple[int, int]) -> UInt8[Tensor, "height width 3"]:
    """The pixels at the upper left of a black image: what is beyond them is put to zero once it is normalised."""
    whole = torch.zeros(*size, 3, dtype=torch.uint8)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return whole


def _box(pixels: Tensor, crop: Crop) -> Tensor:
    return pixels[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
