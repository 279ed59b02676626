"""Regions read from the level of a pyramid that suits their size."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.boxes import box_area

from tasks.detection.rcnn.row_pooling import pool_rows

CANONICAL_SIDE, CANONICAL_STRIDE = 224, 16
"""A region of ImageNet's side is read at the stride of ResNet's fourth stage (FPN, Lin et al. 2017, equation 1)."""


class RegionPooling(MultiScaleRoIAlign):  # type: ignore[misc]
    """torchvision's, but for the strides, which it guesses from the first batch, rounded to powers of two."""

    def __init__(self, strides: Sequence[float], side: int) -> None:
        super().__init__([str(level) for level in range(len(strides))], side, sampling_ratio=2)
        self.scales = [1 / stride for stride in strides]
        self.map_levels = LevelOfSize(strides)

    def of(self, levels: Sequence[Tensor], boxes: list[Tensor]) -> Tensor:
        """(regions of all images, channels, side, side), of as many levels as there are strides."""
        if levels[0].device.type == "cpu":
            return self._by_rows(levels, boxes)
        found: Tensor = self({str(level): each for level, each in enumerate(levels)}, boxes, [])
        return found

    def _by_rows(self, levels: Sequence[Tensor], boxes: list[Tensor]) -> Tensor:
        level_of, together = self.map_levels(boxes), torch.cat(boxes)
        images = torch.repeat_interleave(torch.tensor([len(each) for each in boxes]))
        side = self.output_size[0]
        places = [torch.where(level_of == level)[0] for level in range(len(levels))]
        pooled = [
            pool_rows(each, images[at], together[at] * scale, side)
            for each, at, scale in zip(levels, places, self.scales, strict=True)
        ]
        return torch.cat(pooled)[torch.cat(places).argsort()]


class LevelOfSize:
    """The coarsest level whose stride is at most 16/224 of a box's side (the root of its area), else the finest."""

    def __init__(self, strides: Sequence[float]) -> None:
        self.strides = torch.tensor(strides, dtype=torch.float32)

    def __call__(self, boxes: list[Tensor]) -> Tensor:
        wanted = box_area(torch.cat(boxes)).sqrt() * (CANONICAL_STRIDE / CANONICAL_SIDE) * (1 + 1e-6)
        return (torch.bucketize(wanted, self.strides.to(wanted.device), right=True) - 1).clamp(min=0)
