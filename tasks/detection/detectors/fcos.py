"""FCOS (Tian et al. 2019, arXiv 1904.01355): no anchors and no proposals, a box from every location of every level.

The second opinion on whether a ranking of backbones depends on the head: nothing is shared with the region detectors
but the pyramid. Head, assignment and losses are torchvision's: four convolutions with GroupNorm for classes and four
for boxes; a location belongs to the smallest box it lies in the centre of (within 1.5 strides) and whose size suits its
level; focal loss, generalised IoU loss, and centre-ness, read beside the boxes. Scores are the root of class times
centre-ness. As torchvision and unlike the paper, distances are in strides, with no scale learnt for each level.

Levels are those of strides of about 8 to 64; the paper adds one of 128 for boxes of more than 512 pixels from a
location, which here are the coarsest level's. Losses are averaged over the locations with an object of a batch: of each
device's own, where there are several.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import remove_small_boxes

from tasks.detection.batch import DetectionBatch, Detections
from tasks.detection.detector import Detector
from tasks.detection.head_settings import HeadSettings
from tasks.detection.pyramids.choosing import pyramid_over
from tasks.detection.rcnn.anchors import Anchors
from tasks.trunk import Trunk

FINEST = 6
"""Levels of smaller strides are left out: a dense head on stride 4 would cost three times all the others."""
GROUPS = 32
"""Of channels, in the head's GroupNorm."""
SMALLEST = 1e-2
"""Side in pixels of the smallest box that is handed out, as of torchvision's region heads."""


class AnchorFree(Detector):
    """Of ``HeadSettings`` it takes ``pyramid_channels``, ``proposals`` (the most of a level before overlaps are
    suppressed), ``detection_overlap``, ``score_threshold`` and ``detections_per_image``.
    """

    masks = False

    def __init__(self, trunk: Trunk, classes: int, settings: HeadSettings) -> None:
        super().__init__()
        channels = settings.pyramid_channels
        if channels % GROUPS:
            raise ValueError(f"pyramid_channels {channels} must be a multiple of {GROUPS}: fcos normalises in groups")
        self.trunk = trunk
        self.pyramid = pyramid_over(trunk.channels(), channels)
        self.skipped = sum(stride < FINEST for stride in self.pyramid.strides)
        self.dense = FCOS(
            _Elsewhere(channels),
            classes,
            anchor_generator=Locations(self.pyramid.strides[self.skipped :], 1.0, (1.0,)),
            head=DenseHead(channels, 1, classes),
            score_thresh=settings.score_threshold,
            nms_thresh=settings.detection_overlap,
            detections_per_img=settings.detections_per_image,
            topk_candidates=settings.proposals,
        )

    def losses(self, batch: DetectionBatch) -> dict[str, Float[Tensor, ""]]:
        """Of classes, boxes and centre-ness."""
        outputs, locations, counts = self._looked_at(batch.images, batch.sizes)
        targets = [{"boxes": truth.boxes, "labels": truth.labels} for truth in batch.truths]
        found = self.dense.compute_loss(targets, outputs, locations, counts)
        return {
            "classes": found["classification"],
            "boxes": found["bbox_regression"],
            "centreness": found["bbox_ctrness"],
        }

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "batch 3 height width"], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """At most ``detections_per_image`` of each."""
        outputs, locations, counts = self._looked_at(images, sizes)
        by_level = {name: list(torch.split(output, counts, dim=1)) for name, output in outputs.items()}
        boxes = [list(torch.split(each, counts)) for each in locations]
        return [_detections(found) for found in self.dense.postprocess_detections(by_level, boxes, list(sizes))]

    def _looked_at(
        self, images: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> tuple[dict[str, Tensor], list[Tensor], list[int]]:
        """The head's outputs, the locations of each image, and how many of them each level has."""
        levels = self.pyramid(self.trunk.maps(images))[self.skipped :]
        locations = self.dense.anchor_generator(ImageList(images, list(sizes)), levels)
        return self.dense.head(levels), locations, [level.shape[2] * level.shape[3] for level in levels]


class Locations(Anchors):
    """One square of a stride's side about the middle of each cell, where the paper has its locations.

    torchvision has them at the upper left corners.
    """

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The same for every image: (locations, 4)."""
        return [
            each + (each[:, 2:] - each[:, :2]).repeat(1, 2) / 2 for each in super().forward(image_list, feature_maps)
        ]


class DenseHead(FCOSHead):  # type: ignore[misc]
    """torchvision's; answers in float32, as half precision would move boxes by pixels."""

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Logits of classes, distances in strides and logits of centre-ness, (batch, locations, ...)."""
        return {name: output.float() for name, output in super().forward(levels).items()}


class _Elsewhere(nn.Module):
    """What torchvision's FCOS asks of a backbone; ours is above it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels


def _detections(found: dict[str, Tensor]) -> Detections:
    kept = remove_small_boxes(found["boxes"], SMALLEST)
    return Detections(found["boxes"][kept], found["scores"][kept], found["labels"][kept], None)


DETECTORS = {"fcos": AnchorFree}
