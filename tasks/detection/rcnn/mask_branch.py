"""Outlines of detected objects (Mask R-CNN, He et al. 2017)."""

from jaxtyping import Float32
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_inference, maskrcnn_loss

from tasks.detection.head_settings import HeadSettings
from tasks.detection.norms import norm_layer
from tasks.detection.rcnn.pooling import RegionPooling
from tasks.detection.rcnn.stage import Samples, Targets

SIDE, CONVOLUTIONS = 14, 4


class MaskBranch(nn.Module):
    """Four convolutions, one transposed, and a mask of 28 x 28 for every class. Drawn as torchvision does (Kaiming)."""

    def __init__(self, strides: tuple[float, ...], channels: int, classes: int, settings: HeadSettings) -> None:
        super().__init__()
        self.pooling = RegionPooling(strides, SIDE)
        self.head = MaskRCNNHeads(channels, [channels] * CONVOLUTIONS, 1, norm_layer(settings.mask_norm))
        self.predictor = MaskRCNNPredictor(channels, channels, classes + 1)

    def loss(self, levels: list[Tensor], samples: Samples, targets: Targets) -> Tensor:
        """Mean cross entropy over the pixels of the samples that are objects, in the mask of their class."""
        found = [labels > 0 for labels in samples.labels]
        boxes = [each[those] for each, those in zip(samples.boxes, found, strict=True)]
        rows = [each[those] for each, those in zip(samples.objects, found, strict=True)]
        masks, labels = [target["masks"] for target in targets], [target["labels"] for target in targets]
        loss: Tensor = maskrcnn_loss(self._logits(levels, boxes), boxes, masks, labels, rows)
        return loss

    def masks(
        self, levels: list[Tensor], boxes: list[Tensor], labels: list[Tensor]
    ) -> list[Float32[Tensor, "n side side"]]:
        """Probabilities of each image's boxes, of their class; ``labels`` count from 1."""
        return [each[:, 0] for each in maskrcnn_inference(self._logits(levels, boxes), labels)]

    def _logits(self, levels: list[Tensor], boxes: list[Tensor]) -> Tensor:
        logits: Tensor = self.predictor(self.head(self.pooling.of(levels, boxes)))
        return logits.float()
