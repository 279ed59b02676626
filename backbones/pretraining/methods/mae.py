"""MAE (He et al. 2022, arXiv 2111.06377): the pixels of most patches from the few that the encoder sees.

    V, M: floor((1 - r) n) patches of an image at random, and the others;  h = f(x_V)
    y_M = g(h, mask tokens at M),  g a light transformer with fixed positions
    L = mean over M and pixels of (y - t)^2,  t a patch's pixels less their mean over their deviation

Deviations: the encoder's positions are timm's, learned, where the paper's are fixed; all weights begin as timm's ViTs
do (a normal of 0.02), where the paper has Xavier's. The decoder answers for masked patches only: its answers for the
others have no loss in the paper either.
"""

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

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
from backbones.pretraining.parts.decoder import PatchDecoder
from backbones.pretraining.parts.patches import numbers_of, patchify, standardised, taken
from backbones.pretraining.parts.random_masks import random_masks
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import CROP_AND_FLIP, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MAE(MethodSettings):
    """``masked``: the share of patches that the encoder does not see; ``decoder_...``: its width, blocks and heads.

    ``standardised``: targets are patches each of mean 0 and deviation 1, not plain pixels.
    """

    family: ClassVar[MethodFamily] = "masked image modelling"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = CROP_AND_FLIP
    masked: float = Field(default=0.75, gt=0, lt=1)
    standardised: bool = True
    decoder_width: int = Field(default=512, ge=4)
    decoder_depth: int = Field(default=8, ge=1)
    decoder_heads: int = Field(default=16, ge=1)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than one view of its size, or images that are not whole patches."""
        check_views(self, 1)
        check_views_size(self, encoder)
        return _MAE(self, cast(TokenEncoder, encoder))


class _MAE(Method):
    encoder: TokenEncoder

    def __init__(self, settings: MAE, encoder: TokenEncoder) -> None:
        super().__init__(encoder)
        encoder.check_whole_patches()
        encoder.freeze_pooling()
        self.settings = settings
        self.decoder = PatchDecoder(
            encoder.width,
            settings.decoder_width,
            settings.decoder_depth,
            settings.decoder_heads,
            encoder.grid,
            outside=3 * encoder.patch**2,
        )

    def represent(self, batch: Batch) -> Outputs:
        """Masked patches as the decoder has them, and as they are."""
        images = batch.views[0].images
        patches = patchify(images, self.encoder.patch)
        masks = random_masks(len(images), patches.shape[1], self.settings.masked, torch.default_generator)
        seen, hidden = numbers_of(~masks).to(images.device), numbers_of(masks).to(images.device)
        tokens = self.encoder.tokens(images, keep=seen)
        target = taken(patches, hidden)
        return {
            "predicted": self.decoder(tokens.prefix, tokens.patches, seen, hidden),
            "target": standardised(target) if self.settings.standardised else target,
        }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Mean squared error."""
        return (outputs["predicted"] - outputs["target"]).square().mean()


METHODS = {"mae": MAE}
PRESETS = {
    "mae": {
        "cifar": Preset(
            settings=MAE(views=(ViewGroup(crop_scale=(0.08, 1.0)),)),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                learning_rate=2e-4,
                weight_decay=0.05,
                betas=(0.9, 0.95),
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:vit_small_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32},
            size=32,
            source="solo-learn's settings for CIFAR; not run here at this length",
        ),
        "imagenet": Preset(
            settings=MAE(views=(ViewGroup(crop_scale=(0.2, 1.0)),)),
            recipe=Recipe(
                epochs=1600,
                global_batch=4096,
                learning_rate=2.4e-3,
                weight_decay=0.05,
                betas=(0.9, 0.95),
                warmup_epochs=40,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:vit_base_patch16_224",
            size=224,
            source="the paper's: 1.5e-4 * batch / 256, 68.0 linear and 83.6 fine-tuned there; not run here",
        ),
    }
}
