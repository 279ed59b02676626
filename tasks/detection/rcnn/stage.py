"""One stage of region classification: proposals become classes and better boxes (Girshick 2015)."""

from typing import NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import clip_boxes_to_image, generalized_box_iou_loss

from tasks.detection.head_settings import HeadSettings
from tasks.detection.norms import norm_layer
from tasks.detection.rcnn.pooling import RegionPooling

SIDE = 7
GIOU_WEIGHT = 10.0
Targets = list[dict[str, Tensor]]
"""``boxes``, ``labels`` (from 1: 0 is the background) and perhaps ``masks`` of each image, as torchvision has them."""


class Samples(NamedTuple):
    """Proposals to learn from, and by image the object each overlaps most, its class (0: none) and coded offsets."""

    boxes: list[Tensor]
    objects: list[Tensor]
    labels: list[Tensor]
    offsets: list[Tensor]


class Stage(RoIHeads):  # type: ignore[misc]
    """Its proposals are objects from an IoU of ``least_overlap`` on; offsets are coded with ``weights``.

    ``samples`` and what makes detections of scores are torchvision's. The last layers are drawn as in Fast R-CNN
    (normal, deviations 0.01 and 0.001, biases zero); those below as torchvision or torch draw them.
    """

    def __init__(
        self,
        pooling: RegionPooling,
        channels: int,
        classes: int,
        least_overlap: float,
        weights: tuple[float, float, float, float],
        settings: HeadSettings,
    ) -> None:
        predictor = _predictor(classes, settings)
        super().__init__(
            pooling, _head(channels, settings), predictor, least_overlap, least_overlap, settings.samples,
            settings.positive_fraction, weights, settings.score_threshold, settings.detection_overlap,
            settings.detections_per_image,
        )  # fmt: skip
        self.repeats = classes + 1 if settings.class_agnostic else 1
        self.giou = settings.box_loss == "giou"

    def sample(self, proposals: list[Tensor], targets: Targets) -> Samples:
        """Of the proposals and the objects themselves, by chance."""
        return Samples(*self.select_training_samples(list(proposals), targets))

    def predict(
        self, levels: list[Tensor], boxes: list[Tensor]
    ) -> tuple[Float32[Tensor, "boxes classes_and_none"], Float32[Tensor, "boxes four_a_class"]]:
        """Logits (the background first) and offsets for every class, whether or not they share them."""
        logits, offsets = self.box_predictor(self.box_head(self.box_roi_pool.of(levels, boxes)))
        return logits.float(), offsets.float().repeat(1, self.repeats)

    def losses(self, logits: Tensor, offsets: Tensor, samples: Samples, targets: Targets) -> tuple[Tensor, Tensor]:
        """Mean over samples: cross entropy, and that of the boxes, which only objects add to."""
        if not self.giou:
            classes, boxes = fastrcnn_loss(logits, offsets, samples.labels, samples.offsets)
            return classes, boxes
        labels = torch.cat(samples.labels)
        objects = torch.where(labels > 0)[0]
        found = self._decoded(offsets, torch.cat(samples.boxes), labels)[objects]
        truths = torch.cat(
            [_matched(target["boxes"], rows) for target, rows in zip(targets, samples.objects, strict=True)]
        )
        distance = generalized_box_iou_loss(found, truths[objects], reduction="sum")
        return cross_entropy(logits, labels), GIOU_WEIGHT * distance / len(labels)

    def refine(
        self,
        logits: Tensor,
        offsets: Tensor,
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
        samples: Samples | None = None,
    ) -> list[Tensor]:
        """Boxes for the next stage: moved as the likeliest class says, or the true one where it is known.

        Samples that are an object exactly are not among them: the next stage is given the objects themselves.
        """
        chosen = logits[:, 1:].argmax(1) + 1
        if samples is not None:
            labels = torch.cat(samples.labels)
            chosen = torch.where(labels > 0, labels, chosen)
        moved = self._decoded(offsets.detach(), torch.cat(boxes), chosen)
        inside = [clip_boxes_to_image(each, size) for each, size in zip(_by_image(moved, boxes), sizes, strict=True)]
        if samples is None:
            return inside
        given = [
            (labels > 0) & (offsets == 0).all(1)
            for labels, offsets in zip(samples.labels, samples.offsets, strict=True)
        ]
        return [each[~same] for each, same in zip(inside, given, strict=True)]

    def _decoded(self, offsets: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Each box moved by the offsets of one class."""
        of_class = offsets.view(len(boxes), -1, 4)[torch.arange(len(boxes), device=labels.device), labels]
        moved: Tensor = self.box_coder.decode_single(of_class, boxes)
        return moved


def _by_image(rows: Tensor, boxes: list[Tensor]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = torch.split(rows, [len(each) for each in boxes])
    return parts


def _matched(truths: Tensor, rows: Tensor) -> Tensor:
    return truths[rows] if len(truths) else truths.new_zeros(len(rows), 4)


def _head(channels: int, settings: HeadSettings) -> nn.Module:
    if not settings.box_convolutions:
        head: nn.Module = TwoMLPHead(channels * SIDE**2, settings.head_width)
        return head
    convolutions, norm = [channels] * settings.box_convolutions, norm_layer(settings.head_norm)
    made: nn.Module = FastRCNNConvFCHead((channels, SIDE, SIDE), convolutions, [settings.head_width], norm)
    return made


def _predictor(classes: int, settings: HeadSettings) -> nn.Module:
    predictor: nn.Module = FastRCNNPredictor(settings.head_width, classes + 1)
    if settings.class_agnostic:
        predictor.bbox_pred = nn.Linear(settings.head_width, 4)
    for layer, deviation in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        assert isinstance(layer, nn.Linear)
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
    return predictor
