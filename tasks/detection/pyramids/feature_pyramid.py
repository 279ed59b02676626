"""Feature pyramid (Lin et al. 2017): coarse maps are added to finer ones, top down."""

from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork

from tasks.detection.pyramids.pyramid import Pyramid


class FeaturePyramid(Pyramid):
    """Over maps of several strides. Convolutions are drawn by torchvision: Kaiming uniform with a = 1, biases zero."""

    def __init__(self, widths: dict[int, int], channels: int) -> None:
        super().__init__([float(stride) for stride in widths], channels)
        self.read = tuple(widths)
        self.network = FeaturePyramidNetwork(list(widths.values()), channels)

    def learnt(self, maps: dict[int, Tensor]) -> list[Tensor]:
        """One level a map that is read."""
        return list(self.network({str(stride): maps[stride] for stride in self.read}).values())
