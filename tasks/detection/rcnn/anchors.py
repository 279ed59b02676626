"""Anchors at the strides a pyramid states."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList


class Anchors(AnchorGenerator):  # type: ignore[misc]
    """torchvision's, but for the strides, which it takes from the images' side over the map's, rounded down.

    That is wrong where a map's side is rounded up: 96 pixels at stride 64 are 2 cells, 64 apart and not 48. Anchors
    are float32 whatever the maps are: in bfloat16 a corner beyond 256 would be off by up to a pixel.
    """

    def __init__(self, strides: Sequence[float], scale: float, ratios: Sequence[float]) -> None:
        super().__init__(tuple((scale * stride,) for stride in strides), (tuple(ratios),) * len(strides))
        self.strides = tuple(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The same for every image: (anchors, 4), level by level, row by row."""
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        anchors = torch.cat(self.grid_anchors([list(level.shape[-2:]) for level in feature_maps], strides))
        return [anchors] * len(image_list.image_sizes)
