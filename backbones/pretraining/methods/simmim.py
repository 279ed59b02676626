"""SimMIM (Xie et al. 2022, arXiv 2111.09886): masked pixels restored by one linear layer over the encoder.

    M: squares of 32 pixels, 0.6 of them at random; the embedding of a patch in M is one learned mask token
    y = W f(x with M masked) + b,  a linear layer from a patch's token to its pixels
    L = mean over pixels in M of |y - x|,  x the image as it is normalised

Deviations: positions are timm's, learned, where the paper's ViT has relative ones. The paper fine-tunes the mean of
patches, so the presets' embedding is that mean: nothing trains a class token to be one.
"""

import math
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

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
from backbones.pretraining.parts.patches import numbers_of, patchify, taken
from backbones.pretraining.parts.random_masks import random_unit_masks
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import CROP_AND_FLIP, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimMIM(MethodSettings):
    """``unit``: the side in pixels of the squares that are masked, whole patches; ``masked``: the share of them."""

    family: ClassVar[MethodFamily] = "masked image modelling"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = CROP_AND_FLIP
    unit: int = Field(default=32, ge=1)
    masked: float = Field(default=0.6, gt=0, lt=1)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than one view of its size, or units that do not tile it in whole patches."""
        check_views(self, 1)
        check_views_size(self, encoder)
        return _SimMIM(self, cast(TokenEncoder, encoder))


class _SimMIM(Method):
    encoder: TokenEncoder

    def __init__(self, settings: SimMIM, encoder: TokenEncoder) -> None:
        super().__init__(encoder)
        encoder.check_whole_patches()
        _check_unit(settings.unit, encoder)
        encoder.freeze_pooling()
        self.settings = settings
        self.mask_token = nn.Parameter(0.02 * torch.randn(encoder.width))
        self.head = nn.Linear(encoder.width, 3 * encoder.patch**2)

    def represent(self, batch: Batch) -> Outputs:
        """Masked patches as the head has them, and as they are."""
        images, patch = batch.views[0].images, self.encoder.patch
        masks = random_unit_masks(
            len(images), self.encoder.grid, self.settings.unit // patch, self.settings.masked, torch.default_generator
        )
        hidden = numbers_of(masks).to(images.device)
        tokens = self.encoder.tokens(images, replaced=masks.to(images.device), replacement=self.mask_token)
        return {
            "predicted": self.head(taken(tokens.patches, hidden)),
            "target": taken(patchify(images, patch), hidden),
        }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Mean absolute error."""
        return (outputs["predicted"] - outputs["target"]).abs().mean()


def _check_unit(unit: int, encoder: TokenEncoder) -> None:
    if unit % encoder.patch or any(side % unit for side in encoder.size):
        common = math.gcd(*encoder.size)
        fitting = [each for each in range(encoder.patch, common + 1, encoder.patch) if common % each == 0]
        raise ValueError(
            f"unit {unit}: squares of {unit} pixels do not tile images of {encoder.size[0]} x {encoder.size[1]} in "
            f"whole patches of {encoder.patch}; choose of {', '.join(map(str, fitting))}"
        )


METHODS = {"simmim": SimMIM}
PRESETS = {
    "simmim": {
        "cifar": Preset(
            settings=SimMIM(unit=8),
            recipe=Recipe(epochs=1000, global_batch=256, learning_rate=5e-4, weight_decay=0.05, warmup_epochs=10),
            architecture="timm:vit_tiny_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32, "global_pool": "avg", "fc_norm": False},
            size=32,
            source="our choice after the paper's: the same share of larger units; not run here at this length",
        ),
        "imagenet": Preset(
            settings=SimMIM(views=(ViewGroup(crop_scale=(0.67, 1.0)),)),
            recipe=Recipe(
                epochs=800,
                global_batch=2048,
                learning_rate=4e-4,
                weight_decay=0.05,
                warmup_epochs=20,
                clip_norm=5.0,
            ),
            architecture="timm:vit_base_patch16_224",
            kwargs={"global_pool": "avg", "fc_norm": False},
            size=224,
            source="after the paper's for ViT-B: 1e-4 * batch / 512, 83.8 fine-tuned there; not run here",
        ),
    }
}
