"""Region proposals (Ren et al. 2015) over a pyramid."""

from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import Conv2dNormActivation

from tasks.detection.head_settings import HeadSettings
from tasks.detection.norms import Norm, norm_layer
from tasks.detection.pyramids.pyramid import Pyramid
from tasks.detection.rcnn.anchors import Anchors


class Proposing(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's, with its thresholds and samples: 256 anchors an image, objects from an IoU of 0.7, none below 0.3.

    An image of which nothing is left to propose is proposed as a whole.
    """

    def __init__(self, pyramid: Pyramid, settings: HeadSettings) -> None:
        anchors = Anchors(pyramid.strides, settings.anchor_scale, settings.anchor_ratios)
        head = ProposalHead(pyramid.channels, len(settings.anchor_ratios), settings.rpn_convolutions, settings.rpn_norm)
        kept = {"training": settings.training_proposals, "testing": settings.proposals}
        super().__init__(anchors, head, 0.7, 0.3, 256, 0.5, kept, kept, settings.proposal_overlap)

    def of(
        self, images: ImageList, levels: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Boxes of each image, and in training mode the two losses."""
        boxes, losses = self(images, {str(level): each for level, each in enumerate(levels)}, targets)
        return boxes, {name.removeprefix("loss_"): loss for name, loss in losses.items()}

    def filter_proposals(
        self, proposals: Tensor, objectness: Tensor, image_shapes: list[tuple[int, int]], anchors: list[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As torchvision does, but never none: a small image on a large canvas may have all its best ones beside it."""
        boxes, scores = super().filter_proposals(proposals, objectness, image_shapes, anchors)
        for image, (height, width) in enumerate(image_shapes):
            if not len(boxes[image]):
                boxes[image] = boxes[image].new_tensor([[0, 0, width, height]])
                scores[image] = scores[image].new_ones(1)
        return boxes, scores


class ProposalHead(RPNHead):  # type: ignore[misc]
    """torchvision's (weights normal with deviation 0.01, biases zero), with a norm where asked. Answers in float32."""

    def __init__(self, channels: int, anchors: int, convolutions: int, norm: Norm) -> None:
        super().__init__(channels, anchors, convolutions)
        if (layer := norm_layer(norm)) is not None:
            made = [Conv2dNormActivation(channels, channels, 3, norm_layer=layer) for _ in range(convolutions)]
            self.conv = nn.Sequential(*made)
            for convolution, *_ in made:
                nn.init.normal_(convolution.weight, std=0.01)

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness and offsets by level: offsets in half precision would move large anchors by pixels."""
        objectness, offsets = super().forward(levels)
        return [each.float() for each in objectness], [each.float() for each in offsets]
