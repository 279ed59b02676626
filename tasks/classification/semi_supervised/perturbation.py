"""An image as it is evaluated, and then a little moved, turned, mirrored, brightened and made noisy."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from jaxtyping import UInt8
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from backbones.base import Preprocess
from backbones.preprocessing import Fit
from backbones.training.augment import Augment, Patch
from backbones.training.augmentation import Augmentation, Share


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Perturbation:
    """In this order; the defaults leave the image as it is evaluated.

    - ``noise``: the probability of Gaussian noise, whose deviation is uniform up to ``gain`` of half the range of grey
      levels (of pixels between -1 and 1: up to ``gain``);
    - ``rotation``: by up to so many degrees either way; ``shift``: by up to that share of each side, in whole pixels;
      what moves in is the image's reflection;
    - ``gamma_share``: the probability that pixels in [0, 1] are raised to a power within ``gamma``;
    - ``flip``: the probability of being mirrored left to right.
    """

    noise: Share = 0.0
    gain: Share = 0.3
    rotation: Annotated[float, Field(ge=0, le=45)] = 0.0
    shift: Annotated[float, Field(ge=0, le=0.4)] = 0.0
    gamma_share: Share = 0.0
    gamma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.5, 1.5)
    flip: Share = 0.0


View = Perturbation | Augmentation
Vary = Callable[
    [UInt8[Tensor, "3 height width"], int, int], tuple[UInt8[Tensor, "3 out_height out_width"], Patch | None]
]
"""``vary(image, epoch, index)``: the same for the same (epoch, index); pixels, and what is erased of them."""


def vary_by(view: View, preprocess: Preprocess, fit: Fit, seed: int) -> Vary:
    """How a decoded image becomes such a view of it; ``fit`` is how it is evaluated."""
    return Augment(view, preprocess, seed) if isinstance(view, Augmentation) else Perturb(view, fit, seed)


class Perturb:
    """The 8-bit pixels of the evaluated size, perturbed."""

    def __init__(self, view: Perturbation, fit: Fit, seed: int) -> None:
        self.view, self.fit, self.seed = view, fit, seed

    def __call__(
        self, image: UInt8[Tensor, "3 height width"], epoch: int, index: int
    ) -> tuple[UInt8[Tensor, "3 out_height out_width"], Patch | None]:
        """Nothing is ever erased."""
        view, draws = self.view, np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, index)))
        pixels = self.fit(image)
        if draws.random() < view.noise:
            pixels = _noisy(pixels, view.gain * draws.random(), draws)
        pixels = _moved(pixels, view, draws)
        if draws.random() < view.gamma_share:
            pixels = functional.adjust_gamma(pixels, draws.uniform(*view.gamma))
        return pixels.flip(2) if draws.random() < view.flip else pixels, None


def _noisy(
    pixels: UInt8[Tensor, "3 height width"], deviation: float, draws: np.random.Generator
) -> UInt8[Tensor, "3 height width"]:
    noise = torch.from_numpy(draws.standard_normal(tuple(pixels.shape), dtype=np.float32))
    return (pixels + 127.5 * deviation * noise).round_().clamp_(0, 255).to(torch.uint8)


def _moved(
    pixels: UInt8[Tensor, "3 height width"], view: Perturbation, draws: np.random.Generator
) -> UInt8[Tensor, "3 height width"]:
    """Turned about its centre, then shifted: a window over the image and as much of its reflection as is needed."""
    height, width = pixels.shape[1:]
    furthest = [round(view.shift * side) for side in (height, width)]
    down, right = (int(draws.integers(-most, most + 1)) for most in furthest)
    angle = draws.uniform(-view.rotation, view.rotation)
    if not (view.rotation or down or right):
        return pixels
    swept = np.sin(np.radians(view.rotation)) / 2  # of the other side, at the corners
    margin = [min(most + int(np.ceil(swept * max(height, width))), min(height, width) - 1) for most in furthest]
    padded = functional.pad(pixels, [margin[1], margin[0]], padding_mode="reflect")
    if view.rotation:
        padded = functional.rotate(padded, angle, interpolation=InterpolationMode.BILINEAR)
    moved: Tensor = functional.crop(padded, margin[0] + down, margin[1] + right, height, width)
    return moved
