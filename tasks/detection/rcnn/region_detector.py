"""Faster, Mask and Cascade R-CNN: proposals, then one or three stages of regions, and perhaps masks."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from tasks.detection.batch import DetectionBatch, Detections, Truth
from tasks.detection.detector import Detector
from tasks.detection.head_settings import HeadSettings
from tasks.detection.pyramids.choosing import pyramid_over
from tasks.detection.rcnn.mask_branch import MaskBranch
from tasks.detection.rcnn.pooling import RegionPooling
from tasks.detection.rcnn.proposing import Proposing
from tasks.detection.rcnn.stage import SIDE, Samples, Stage
from tasks.trunk import Trunk

OVERLAPS = (0.5, 0.6, 0.7)
WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
LOSS_WEIGHTS = (1.0, 0.5, 0.25)
"""By stage, of Cascade R-CNN (Cai & Vasconcelos 2018): from which IoU a proposal is an object, the inverses of the
deviations that offsets are coded with, and what its losses weigh. Faster R-CNN is the first stage alone."""


class RegionDetector(Detector):
    """``stages`` of boxes, each taking the boxes of the one before; masks are learnt on the last one's proposals.

    Scores are the mean of the stages', boxes the last one's. What is read of maps and between heads is float32: under
    autocast, offsets and overlaps in half precision would be wrong by pixels.
    """

    def __init__(self, trunk: Trunk, classes: int, settings: HeadSettings, stages: int, masks: bool) -> None:
        super().__init__()
        self.trunk, self.masks = trunk, masks
        self.pyramid = pyramid_over(trunk.channels(), settings.pyramid_channels)
        self.proposing = Proposing(self.pyramid, settings)
        channels = settings.pyramid_channels
        strides = self.pyramid.strides[: len(self.pyramid.strides) - self.pyramid.pooled]
        self.stages = nn.ModuleList(
            Stage(RegionPooling(strides, SIDE), channels, classes, OVERLAPS[stage], WEIGHTS[stage], settings)
            for stage in range(stages)
        )
        self.mask_branch = MaskBranch(strides, channels, classes, settings) if masks else None
        self.regions = len(strides)

    def losses(self, batch: DetectionBatch) -> dict[str, Float[Tensor, ""]]:
        """Of proposals (2), of each stage (2, times its weight) and of masks. Raises ``ValueError`` without masks."""
        targets = [self._target(truth, name) for truth, name in zip(batch.truths, batch.names, strict=True)]
        levels = self.pyramid(self.trunk.maps(batch.images))
        boxes, losses = self.proposing.of(ImageList(batch.images, list(batch.sizes)), levels, targets)
        levels = [level.float() for level in levels[: self.regions]]
        samples: Samples | None = None
        for number, (stage, weight) in enumerate(zip(self._in_order(), LOSS_WEIGHTS, strict=False), 1):
            samples = stage.sample(boxes, targets)
            logits, offsets = stage.predict(levels, samples.boxes)
            classes, distance = stage.losses(logits, offsets, samples, targets)
            losses |= {f"classes_{number}": weight * classes, f"boxes_{number}": weight * distance}
            if number < len(self.stages):
                boxes = stage.refine(logits, offsets, samples.boxes, list(batch.sizes), samples)
        if self.mask_branch is not None:
            assert samples is not None
            losses["masks"] = self.mask_branch.loss(levels, samples, targets)
        return losses

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "batch 3 height width"], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """At most ``detections_per_image`` of each."""
        sizes = list(sizes)
        levels = self.pyramid(self.trunk.maps(images))
        boxes, _ = self.proposing.of(ImageList(images, sizes), levels, None)
        levels = [level.float() for level in levels[: self.regions]]
        chances = []
        for number, stage in enumerate(self._in_order(), 1):
            logits, offsets = stage.predict(levels, boxes)
            chances.append(logits.softmax(1))
            if number < len(self.stages):
                boxes = stage.refine(logits, offsets, boxes, sizes)
        # its softmax undoes the logarithm
        found = stage.postprocess_detections(torch.stack(chances).mean(0).log(), offsets, boxes, sizes)
        return self._detections(levels, *found)

    def _in_order(self) -> list[Stage]:
        return cast(list[Stage], list(self.stages))

    def _detections(
        self, levels: list[Tensor], boxes: list[Tensor], scores: list[Tensor], labels: list[Tensor]
    ) -> list[Detections]:
        masks: Sequence[Tensor | None] = [None] * len(boxes)
        if self.mask_branch is not None:
            masks = self.mask_branch.masks(levels, boxes, labels)
        return [
            Detections(found, score, label - 1, mask)
            for found, score, label, mask in zip(boxes, scores, labels, masks, strict=True)
        ]

    def _target(self, truth: Truth, name: str) -> dict[str, Tensor]:
        target = {"boxes": truth.boxes, "labels": truth.labels + 1}
        if self.mask_branch is None:
            return target
        if truth.masks is None:
            raise ValueError(
                f"image {name!r} has no outlines to learn masks from; choose a detector without them "
                "(faster-rcnn, cascade-rcnn) or a dataset with outlines"
            )
        return {**target, "masks": truth.masks}
