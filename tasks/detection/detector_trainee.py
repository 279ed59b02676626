"""A detector on a trunk, as the training loop takes it."""

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.training.trainee import Trainee
from tasks.detection.batch import DetectionBatch
from tasks.detection.catalogue import build_detector
from tasks.detection.head_settings import HeadSettings
from tasks.trunk import BatchNorm, Train, Trunk, rest_unused


class DetectorTrainee(Trainee):
    """The sum of a detector's losses.

    ``has_drop_path`` says whether the backbone's architecture has a place for it; the height and width of batches are
    to be multiples of ``multiple``, so that every map has whole cells only.
    """

    def __init__(
        self,
        backbone: Backbone,
        detector: str,
        classes: int,
        heads: HeadSettings,
        train: Train,
        drop_path: float,
        batch_norm: BatchNorm,
        window: int | None = None,
    ) -> None:
        super().__init__()
        trunk = Trunk(backbone, train, drop_path, batch_norm, window)
        self.has_drop_path = trunk.has_drop_path
        rest_unused(trunk)
        self.multiple = max(32, *trunk.channels())
        self.detector = build_detector(detector, trunk, classes, heads)

    @property
    def trunk(self) -> Trunk:
        """The detector's."""
        return self.detector.trunk

    def forward(self, batch: DetectionBatch) -> Float32[Tensor, ""]:
        """The sum of the named losses, each a mean."""
        return torch.stack([loss.float() for loss in self.detector.losses(batch).values()]).sum()

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The backbone's by depth, then pyramid and heads."""
        return [*self.trunk.layers(), *self.detector.layers()]

    def recompute(self) -> None:
        """Activations of the backbone's blocks are computed again in the backward pass; see :meth:`Trunk.recompute`."""
        self.trunk.recompute()
