"""Simple feature pyramid (ViTDet, Li et al. 2022): every level is made of one map, with no path between levels."""

import math

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from tasks.detection.norms import norm_layer
from tasks.detection.pyramids.pyramid import Pyramid

FINEST, LEVELS = 4, 4


class SimpleFeaturePyramid(Pyramid):
    """Four levels, the finest at the stride nearest to 4 that is the map's over a power of two: 3.5 of 14.

    A finer level comes from transposed convolutions of twice the side and half the channels each, with layer
    normalisation and GELU between them; a coarser one from the largest of neighbouring pixels. Each then has a
    convolution of 1 and one of 3 pixels, both normalised. All are drawn as torch draws them.
    """

    def __init__(self, stride: int, width: int, channels: int) -> None:
        finest = round(math.log2(stride / FINEST))
        doublings = [finest - level for level in range(LEVELS)]
        super().__init__([stride / 2.0**each for each in doublings], channels)
        self.read = stride
        self.levels = nn.ModuleList(_level(width, channels, each) for each in doublings)

    def learnt(self, maps: dict[int, Tensor]) -> list[Tensor]:
        """Four levels of the one map."""
        return [level(maps[self.read]) for level in self.levels]


def _level(width: int, channels: int, doublings: int) -> nn.Sequential:
    resize, width = _finer(width, doublings) if doublings > 0 else (_coarser(-doublings), width)
    smooth = {"norm_layer": norm_layer("layer"), "activation_layer": None}
    return nn.Sequential(
        *resize,
        Conv2dNormActivation(width, channels, 1, **smooth),
        Conv2dNormActivation(channels, channels, 3, **smooth),
    )


def _finer(width: int, doublings: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    between = norm_layer("layer")
    assert between is not None
    for _ in range(doublings):
        half = max(width // 2, 1)
        layers += [nn.ConvTranspose2d(width, half, 2, 2), between(half), nn.GELU()]
        width = half
    return layers[:-2], width


def _coarser(halvings: int) -> list[nn.Module]:
    return [nn.MaxPool2d(2**halvings, ceil_mode=True)] if halvings else []
