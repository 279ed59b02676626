"""One decoded image to its pixels as an epoch sees them."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import ColorJitter, RandomErasing

from backbones.base import Interpolation, Preprocess
from backbones.images import to_pil
from backbones.preprocessing import resize
from backbones.training.augmentation import Augmentation
from backbones.training.seeded import seeded

ERASED_AREA, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)
"""Of the image, and height over width; those of the paper's (1708.04896) classification runs, and timm's."""
ITEM_CHANCE = 0
"""The first word of an item's place among the random numbers of a seed; ``mixing`` has another."""


class Patch(NamedTuple):
    """A rectangle to erase: its corner and the noise that takes its place, in units of normalised pixels."""

    top: int
    left: int
    noise: Float[Tensor, "3 patch_height patch_width"]


class Augment:
    """Varies decoded images for one backbone, the same for the same (seed, epoch, index).

    Crop and flip are of the 8-bit tensor; RandAugment and colour jitter are timm's and torchvision's, on PIL images.
    """

    def __init__(self, augmentation: Augmentation, preprocess: Preprocess, seed: int) -> None:
        from timm.data.transforms import RandomResizedCropAndInterpolation  # imports all of timm: two seconds

        self.augmentation, self.preprocess, self.seed = augmentation, preprocess, seed
        self._box: Callable[..., tuple[int, int, int, int]] = RandomResizedCropAndInterpolation.get_params
        self._recolour = _recolouring(augmentation, preprocess)

    def __call__(
        self, image: UInt8[Tensor, "3 height width"], epoch: int, index: int
    ) -> tuple[UInt8[Tensor, "3 out_height out_width"], Patch | None]:
        """The image as this epoch sees it (channels innermost in memory), and what is to be erased of it."""
        numpy = self.augmentation.rand_augment is not None
        with seeded(self.seed, ITEM_CHANCE, epoch, index, numpy=numpy):
            pixels = self._flipped(self._cropped(image))
            if self._recolour is not None:
                recoloured = self._recolour(to_pil(pixels))
                pixels = torch.frombuffer(bytearray(recoloured.tobytes()), dtype=torch.uint8)
                pixels = pixels.view(recoloured.height, recoloured.width, 3).permute(2, 0, 1)
            return pixels, self._patch(pixels)

    def _cropped(self, image: Tensor) -> Tensor:
        top, left, height, width = self._box(image, self.augmentation.crop_scale, self.augmentation.crop_ratio)
        crop = image[:, top : top + height, left : left + width]
        return resize(crop, self.preprocess.size, self._interpolation())

    def _interpolation(self) -> Interpolation:
        if self.augmentation.interpolation == "backbone":
            return self.preprocess.interpolation

        return random.choice(("bilinear", "bicubic"))

    def _flipped(self, image: Tensor) -> Tensor:
        return image.flip(2) if torch.rand(1) < self.augmentation.flip else image

    def _patch(self, pixels: Tensor) -> Patch | None:
        if torch.rand(1) >= self.augmentation.erasing:
            return None
        top, left, _, _, noise = RandomErasing.get_params(pixels, ERASED_AREA, ERASED_ASPECT)
        if noise is pixels:  # ten rectangles in a row did not fit
            return None
        return Patch(top, left, noise)


def _recolouring(augmentation: Augmentation, preprocess: Preprocess) -> Callable[[Image.Image], Image.Image] | None:
    if augmentation.rand_augment is not None:
        return _rand_augment(augmentation.rand_augment, augmentation.interpolation == "random", preprocess)
    if augmentation.colour_jitter == 0:
        return None
    jitter: Callable[[Image.Image], Image.Image] = ColorJitter(*[augmentation.colour_jitter] * 3)
    return jitter


def _rand_augment(words: str, random_resampling: bool, preprocess: Preprocess) -> Callable[[Image.Image], Image.Image]:
    """As timm sets it up for training: what moves in is the mean colour, and 45 % of the side is the furthest shift."""
    from timm.data.auto_augment import rand_augment_transform

    settings: dict[str, Any] = {
        "translate_const": int(min(preprocess.size) * 0.45),
        "img_mean": tuple(min(255, round(255 * channel)) for channel in preprocess.mean),
    }
    if not random_resampling:
        settings["interpolation"] = Image.Resampling[preprocess.interpolation.upper()]
    transform = rand_augment_transform(words, settings)
    for operation in transform.ops:
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize
    varied: Callable[[Image.Image], Image.Image] = transform
    return varied


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """The ``bits`` most significant bits are kept. None are, and the image is black, at timm's magnitude 10.

    ``rand-m9-mstd0.5-inc1`` draws that now and then, and Pillow 13 refuses it: "bits must be between or equal to 1
    and 8", which ended a training with timm 1.0.31. Earlier versions of Pillow made the image black.
    """
    kept = 256 - 2 ** (8 - bits)
    return image.point([value & kept for value in range(256)] * 3)
