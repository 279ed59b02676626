"""What shapes a detector above its backbone: the same for every backbone."""

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tasks.detection.norms import Norm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HeadSettings:
    """Protocol fields of pyramid and heads; the defaults are those of Mask R-CNN with FPN (Lin et al. 2017).

    Anchors of a level of stride s are squares of side ``anchor_scale`` * s, and of that area with the height at
    ``anchor_ratios`` times the width. ``training_proposals`` and ``proposals`` are kept of each level before, and of
    each image after, the suppression of overlaps above ``proposal_overlap``. A stage learns from ``samples`` proposals
    an image, of which at most ``positive_fraction`` are objects. ``box_convolutions`` (of ``pyramid_channels``) are
    followed by one linear layer of ``head_width``; with none there are two. ``box_loss`` is smooth L1 on the coded
    offsets, or 10 times the generalised IoU loss on decoded boxes, as in the 2023 study. Detections overlapping a
    better one of their class by more than ``detection_overlap`` are dropped, as are those below ``score_threshold``.
    """

    pyramid_channels: int = Field(default=256, ge=1)
    anchor_scale: float = Field(default=8.0, gt=0)
    anchor_ratios: tuple[float, ...] = Field(default=(0.5, 1.0, 2.0), min_length=1)
    rpn_convolutions: int = Field(default=1, ge=1)
    rpn_norm: Norm = "none"
    training_proposals: int = Field(default=2000, ge=1)
    proposals: int = Field(default=1000, ge=1)
    proposal_overlap: float = Field(default=0.7, gt=0, le=1)
    samples: int = Field(default=512, ge=1)
    positive_fraction: float = Field(default=0.25, gt=0, le=1)
    box_convolutions: int = Field(default=0, ge=0)
    head_width: int = Field(default=1024, ge=1)
    head_norm: Norm = "none"
    mask_norm: Norm = "none"
    class_agnostic: bool = False
    box_loss: Literal["smooth-l1", "giou"] = "smooth-l1"
    score_threshold: float = Field(default=0.05, ge=0, lt=1)
    detection_overlap: float = Field(default=0.5, gt=0, le=1)
    detections_per_image: int = Field(default=100, ge=1)
