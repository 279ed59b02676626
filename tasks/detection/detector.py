"""What a detector is: a trunk, a pyramid and heads, which answers a batch with losses and images with detections."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from tasks.detection.batch import DetectionBatch, Detections
from tasks.trunk import Trunk


class Detector(nn.Module, ABC):
    """A network over one backbone. ``masks`` says whether it also finds outlines, and so needs them in its batches."""

    trunk: Trunk
    masks: bool

    @abstractmethod
    def losses(self, batch: DetectionBatch) -> dict[str, Float[Tensor, ""]]:
        """Named mean losses of a batch, whose sum is trained. In training mode; an image may have no object."""

    @abstractmethod
    def detect(
        self, images: Float[Tensor, "batch 3 height width"], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """What is found in each image, inside its (height, width) without padding. In evaluation mode."""

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """What is trained above the trunk, as one layer: a decay of learning rates by depth is the trunk's alone."""
        below = {id(parameter) for parameter in self.trunk.parameters()}
        return [("detector", [parameter for parameter in self.parameters() if id(parameter) not in below])]
