"""data2vec for images (Baevski et al. 2022, arXiv 2202.03555): from a masked image a teacher's features of the whole.

    a_l: the teacher's patches after block l, of the whole image;  t = LN(mean of the last K a_l), no scale and shift
    M: blocks of patches (BEiT's), 0.6 of them, their embeddings replaced by one learned mask token
    p = W f(x with M masked) + b
    L = mean over M and dimensions of  d^2 / (2 beta) where |d| <= beta, else |d| - beta / 2,  d = p - t, beta = 2
    theta_t <- m theta_t + (1 - m) theta,  m in a line from 0.999 to 0.9998 over the training

What is published is the student f.

Deviations: the paper's text normalises each a_l before the mean, too; the momentum rises over the whole training, and
the teacher has a patch embedding and positions of its own, which the paper shares with the student. Positions are
timm's, learned, where the paper's are relative. The paper fine-tunes the mean of patches, so the presets' embedding is
that mean.
"""

import math
from typing import Annotated, ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from backbones.pretraining.encoder import Encoder, TokenEncoder
from backbones.pretraining.method import (
    Batch,
    Given,
    Method,
    MethodFamily,
    MethodSettings,
    Needs,
    Outputs,
    Progress,
    check_views,
    check_views_size,
)
from backbones.pretraining.parts.block_masks import block_masks
from backbones.pretraining.parts.patches import numbers_of, plain_layer_norm, taken
from backbones.pretraining.parts.schedules import linear
from backbones.pretraining.parts.teacher import Teacher
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import CROP_AND_FLIP, ViewGroup
from backbones.training.recipe import Recipe

Momentum = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Data2Vec(MethodSettings):
    """``masked``: the share of patches; ``averaged``: K, None for the last half of the blocks; ``beta``: the error up
    to which the loss is quadratic; ``momentum``: the teacher's, at the start and at the end.
    """

    family: ClassVar[MethodFamily] = "masked image modelling"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = CROP_AND_FLIP
    masked: float = Field(default=0.6, gt=0, lt=1)
    averaged: int | None = Field(default=None, ge=1)
    beta: float = Field(default=2.0, gt=0)
    momentum: tuple[Momentum, Momentum] = (0.999, 0.9998)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than one view of its size, or more blocks to average than there are."""
        check_views(self, 1)
        check_views_size(self, encoder)
        return _Data2Vec(self, cast(TokenEncoder, encoder))


class _Data2Vec(Method):
    encoder: TokenEncoder

    def __init__(self, settings: Data2Vec, encoder: TokenEncoder) -> None:
        super().__init__(encoder)
        encoder.freeze_pooling()
        self.settings = settings
        averaged = settings.averaged or math.ceil(encoder.depth / 2)
        if averaged > encoder.depth:
            raise ValueError(f"averaged {averaged}: the encoder has {encoder.depth} blocks; None takes their last half")
        self.blocks = range(encoder.depth - averaged, encoder.depth)
        self.teacher = Teacher(encoder)
        self.mask_token = nn.Parameter(0.02 * torch.randn(encoder.width))
        self.head = nn.Linear(encoder.width, encoder.width)

    def represent(self, batch: Batch) -> Outputs:
        """What the student says of masked patches, and the teacher, who sees them."""
        images, patches = batch.views[0].images, self.encoder.grid[0] * self.encoder.grid[1]
        count = round(self.settings.masked * patches)
        masks = block_masks(self.encoder.grid, count, len(images), torch.default_generator)
        at = numbers_of(masks).to(images.device)
        tokens = self.encoder.tokens(images, replaced=masks.to(images.device), replacement=self.mask_token)
        return {
            "predicted": self.head(taken(tokens.patches, at)),
            "target": taken(self._targets(images), at),
        }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Smooth L1."""
        return smooth_l1_loss(outputs["predicted"], outputs["target"], beta=self.settings.beta)

    def after_update(self, progress: Progress) -> None:
        """The teacher follows."""
        self.teacher.follow(self.encoder, linear(*self.settings.momentum, progress.share))

    @torch.no_grad()
    def _targets(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patches dim"]:
        """Of every patch. Without the student's drop path, which would make targets noisy."""
        self.teacher.eval()
        teacher = cast(TokenEncoder, self.teacher.copy)
        found = teacher.tokens(images, blocks=self.blocks).blocks
        return plain_layer_norm(torch.stack(found).mean(dim=0))


METHODS = {"data2vec": Data2Vec}
PRESETS = {
    "data2vec": {
        "cifar": Preset(
            settings=Data2Vec(),
            recipe=Recipe(epochs=1000, global_batch=256, learning_rate=5e-4, weight_decay=0.05, warmup_epochs=10),
            architecture="timm:vit_tiny_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32, "global_pool": "avg", "fc_norm": False},
            size=32,
            source="our choice after the paper's recipe; not run here at this length",
        ),
        "imagenet": Preset(
            settings=Data2Vec(views=(ViewGroup(jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4),), averaged=6),
            recipe=Recipe(epochs=800, global_batch=2048, learning_rate=2e-3, weight_decay=0.05, warmup_epochs=40),
            architecture="timm:vit_base_patch16_224",
            kwargs={"global_pool": "avg", "fc_norm": False, "drop_path_rate": 0.2},
            size=224,
            source="the paper's for ViT-B, 84.2 fine-tuned there; not run here",
        ),
    }
}
