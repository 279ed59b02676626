"""UPerNet (Xiao et al. 2018, arXiv:1807.10221), light: pyramid pooling, a feature pyramid, and their fusion."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

POOLED = (1, 2, 3, 6)
"""Cells a side of the pyramid pooling module."""
LEVELS = (4, 8, 16, 32)
"""Strides that are made of a backbone's only map."""
GROUPS = 16
"""Of channels that are normalised together: of the narrowest head two, so that a map of one cell can be."""


class UPerNetHead(nn.Module):
    """Every level has ``width`` channels. Light: 128 of them where the paper has 512, no auxiliary head, and GroupNorm
    for its BatchNorm, so that no image sees its neighbours and a pooled map of one cell can be normalised.

    A backbone of one stride is given the others by resizing its map, each level through a projection of its own: the
    neck that plain vision transformers have under this head in mmsegmentation.
    """

    def __init__(self, channels: Mapping[int, int], classes: int, width: int) -> None:
        super().__init__()
        self.only = min(channels) if len(channels) == 1 else None
        levels = dict.fromkeys(LEVELS, channels[self.only]) if self.only is not None else dict(sorted(channels.items()))
        *finer, coarsest = levels
        self.pools = nn.ModuleList(_block(levels[coarsest], width, 1) for _ in POOLED)
        self.pooled = _block(levels[coarsest] + len(POOLED) * width, width, 3)
        self.lateral = nn.ModuleDict({str(level): _block(levels[level], width, 1) for level in finer})
        self.smooth = nn.ModuleDict({str(level): _block(width, width, 3) for level in finer})
        self.fuse = _block(len(levels) * width, width, 3)
        self.classifier = nn.Conv2d(width, classes, 1)
        self.finer, self.coarsest = finer, coarsest

    def forward(self, maps: Mapping[int, Tensor]) -> Float[Tensor, "batch classes height width"]:
        """Logits at the finest level."""
        above = self._pooled(self._at(maps, self.coarsest))
        levels = [above]
        for level in reversed(self.finer):
            lateral = self._at(maps, level, self.lateral[str(level)])
            above = lateral + _resized(above, lateral)
            levels.append(self.smooth[str(level)](above))
        together = torch.cat([_resized(each, levels[-1]) for each in reversed(levels)], 1)
        logits: Tensor = self.classifier(self.fuse(together))
        return logits

    def _at(self, maps: Mapping[int, Tensor], level: int, projection: nn.Module | None = None) -> Tensor:
        """The map of a level, projected where it is small: before it is resized, if it has to be."""
        features = maps[level if self.only is None else self.only]
        projected: Tensor = features if projection is None else projection(features)
        if self.only is None:
            return projected
        scale = self.only / level
        size = [max(1, round(cells * scale)) for cells in projected.shape[-2:]]
        return interpolate(projected, size=size, mode="bilinear")

    def _pooled(self, features: Tensor) -> Tensor:
        context = [
            _resized(block(adaptive_avg_pool2d(features, cells)), features)
            for cells, block in zip(POOLED, self.pools, strict=True)
        ]
        together: Tensor = self.pooled(torch.cat([features, *context], 1))
        return together


def _block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.ReLU())


def _resized(features: Tensor, like: Tensor) -> Tensor:
    return interpolate(features, size=like.shape[-2:], mode="bilinear")
