"""Colour and gradient statistics of the image, nothing learnt: the floor every backbone must beat (``pixels``)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.weights import weights_sha256

VERSION = 3
"""Part of the identity: to be raised with any change of the numbers below or of what is done with them."""
SIDE = 64
STRIDE = 16


class PixelStatistics(Backbone):
    """Mean and spread of red, green, blue and of the gradient's strength: 8 numbers, blind to place and direction.

    Moments only, for a floor must be trivial. A histogram of gradient directions (Dalal and Triggs 2005) is a hand-made
    feature: with one over the whole image, 15 numbers, the statistics were 7 points above networks with random weights
    in linear probes (20 images a class of Tiny ImageNet and crops of COCO; 6 in 5-shot, 8 in kNN); without it they are
    1 point above (0.5 and 4). ``feature_maps`` gives the same numbers of cells.
    """

    def __init__(self) -> None:
        super().__init__()
        self.card = Card(
            name="pixels",
            family="pixels",
            architecture="colour and gradient statistics",
            parameters=0,
            pretraining_method="none",
            pretraining_data="none",
            source="BoB",
            revision=f"version {VERSION}",
            licence="n/a",
            weights_sha256=weights_sha256(self, f"pixels version {VERSION}"),
        )
        self.preprocess = Preprocess(
            size=(SIDE, SIDE),
            resize=SIDE,
            crop="squash",
            interpolation="bilinear",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )
        self.eval()

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The 8 numbers of the whole image."""
        return statistics(images, (1, 1)).flatten(1)

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """The cells, one every 16 pixels."""
        cells = (math.ceil(images.shape[-2] / STRIDE), math.ceil(images.shape[-1] / STRIDE))
        return {STRIDE: statistics(images, cells)}

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """None: there is nothing to train."""
        return []


def statistics(
    images: Float[Tensor, "batch 3 height width"], cells: tuple[int, int]
) -> Float[Tensor, "batch 8 rows columns"]:
    """The 8 numbers of each cell: means of R, G, B (less a half) and gradient strength, then their spreads."""
    quantities = torch.cat([images - 0.5, gradient_strength(images.mean(1, keepdim=True))], dim=1)
    whole = quantities.mean((2, 3), keepdim=True)
    apart = quantities - whole  # the difference of squares below would leave 2e-4 of spread in a flat image
    mean = adaptive_avg_pool2d(apart, cells)
    variance = adaptive_avg_pool2d(apart.square(), cells) - mean.square()
    return torch.cat([mean + whole, variance.clamp(min=0).sqrt()], dim=1)


def gradient_strength(grey: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Length of the gradient by central differences; the border is repeated outwards."""
    padded = pad(grey, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return torch.hypot(across, down)


def load(reference: str, places: Places) -> Backbone:
    """There is one; it takes no reference."""
    if reference:
        raise ValueError(f"'pixels' takes nothing after it, but got {reference!r}; write `pixels`")
    return PixelStatistics()


ADAPTERS = {"pixels": load}
