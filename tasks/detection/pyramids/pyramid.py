"""Maps of one width at several strides, which heads are put on."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

COARSEST = 64
"""Stride up to which a pyramid has levels: anchors of 8 strides then reach 512 pixels."""


class Pyramid(nn.Module, ABC):
    """From a backbone's maps to levels of ``channels``, fine to coarse, at ``strides`` pixels.

    The last ``pooled`` levels are every other pixel of the one before (FPN, Lin et al. 2017): they are for anchors,
    and regions are not read from them.
    """

    def __init__(self, learnt_strides: list[float], channels: int) -> None:
        super().__init__()
        strides, self.channels = list(learnt_strides), channels
        while strides[-1] * 2 <= COARSEST:
            strides.append(strides[-1] * 2)
        self.strides = tuple(strides)
        self.pooled = len(strides) - len(learnt_strides)

    @abstractmethod
    def learnt(
        self, maps: dict[int, Float[Tensor, "batch _ _ _"]]
    ) -> list[Float[Tensor, "batch channels level_height level_width"]]:
        """The levels that are no pooled ones."""

    def forward(self, maps: dict[int, Tensor]) -> list[Tensor]:
        """All levels."""
        levels = self.learnt(maps)
        for _ in range(self.pooled):
            levels.append(max_pool2d(levels[-1], kernel_size=1, stride=2))
        return levels
