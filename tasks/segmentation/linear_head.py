"""A linear classifier of pixels, as dense features are probed: what the features say, and nothing a head makes up."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate


class LinearHead(nn.Module):
    """A 1 x 1 convolution of all maps, resized to the finest of them and concatenated.

    It is computed as one convolution for each map, whose outputs are resized and added. That is the same function,
    since resizing is linear and acts on each channel alone, without the memory of the concatenated maps. It starts at
    zero, where every class is as likely. The linear evaluation of DINOv2 (Oquab et al. 2023) is this on its one map,
    with a BatchNorm before it; here maps come standardised (:class:`~tasks.segmentation.network.Standardised`).
    """

    def __init__(self, channels: Mapping[int, int], classes: int) -> None:
        super().__init__()
        finest = min(channels)
        self.classifiers = nn.ModuleDict(
            {str(stride): nn.Conv2d(width, classes, 1, bias=stride == finest) for stride, width in channels.items()}
        )
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Mapping[int, Tensor]) -> Float[Tensor, "batch classes height width"]:
        """Logits at the finest stride."""
        size = maps[min(maps)].shape[-2:]
        logits = [self.classifiers[str(stride)](features) for stride, features in maps.items()]
        return torch.stack([interpolate(each, size=size, mode="bilinear") for each in logits]).sum(0)
