"""I-JEPA (Assran et al. 2023, arXiv 2301.08243): features of blocks of an image predicted from the rest of it.

    B_1 ... B_4: target blocks;  C: a large block without their patches
    s = LN(f_t(x)) without scale and shift, of the whole image,  f_t an average of f over time (EMA)
    p_i = g(f(x_C), mask tokens at B_i),  g a narrow transformer with fixed positions, each block by itself
    L = mean over i, patches of B_i and dimensions of  smooth L1(p_i - s at B_i)
    theta_t <- m theta_t + (1 - m) theta,  m in a line from 0.996 to 1 over the training

What is published is f_t, as in the paper.

Deviations: contexts are made as large as the batch's smallest by leaving out patches at random, where the authors'
code cuts off the last ones; the encoder's positions are timm's, learned, where the paper's are fixed. The paper's
transformer has no class token, and its embedding is the mean of patches: so it is in the presets.
"""

from typing import Annotated, ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from backbones.base import Backbone
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
from backbones.pretraining.parts.patches import plain_layer_norm, taken
from backbones.pretraining.parts.predicted_blocks import PredictedBlocks, predicted_blocks
from backbones.pretraining.parts.schedules import linear
from backbones.pretraining.parts.teacher import Teacher
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ViewGroup
from backbones.training.recipe import Recipe

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
WITHOUT_CLASS_TOKEN = {"class_token": False, "global_pool": "avg", "fc_norm": False}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class IJEPA(MethodSettings):
    """``targets`` blocks, their area ``scale`` of the image and their height over width ``aspect``, both drawn from
    ranges; ``context``: the range of the context's area; ``momentum``: the teacher's, at the start and at the end.
    """

    family: ClassVar[MethodFamily] = "masked image modelling"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = (ViewGroup(crop_scale=(0.3, 1.0), flip=0.0),)
    targets: int = Field(default=4, ge=1)
    scale: tuple[Share, Share] = (0.15, 0.2)
    aspect: tuple[Positive, Positive] = (0.75, 1.5)
    context: tuple[Share, Share] = (0.85, 1.0)
    predictor_width: int = Field(default=384, ge=4)
    predictor_depth: int = Field(default=6, ge=1)
    predictor_heads: int = Field(default=12, ge=1)
    momentum: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.996, 1.0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than one view of its size, or targets that leave no context."""
        check_views(self, 1)
        check_views_size(self, encoder)
        return _IJEPA(self, cast(TokenEncoder, encoder))


class _IJEPA(Method):
    encoder: TokenEncoder

    def __init__(self, settings: IJEPA, encoder: TokenEncoder) -> None:
        super().__init__(encoder)
        encoder.freeze_pooling()
        self.settings = settings
        self.teacher = Teacher(encoder)
        self.predictor = PatchDecoder(
            encoder.width,
            settings.predictor_width,
            settings.predictor_depth,
            settings.predictor_heads,
            encoder.grid,
            outside=encoder.width,
        )
        self._drawn(images=1)

    def represent(self, batch: Batch) -> Outputs:
        """What is predicted of each target block, and the teacher's features there."""
        images = batch.views[0].images
        context, targets = (numbers.to(images.device) for numbers in self._drawn(len(images)))
        seen = self.encoder.tokens(images, keep=context)
        times = self.settings.targets
        repeated = [each.repeat_interleave(times, dim=0) for each in (seen.prefix, seen.patches, context)]
        predicted = self.predictor(*repeated, targets.flatten(0, 1))
        with torch.no_grad():
            features = plain_layer_norm(self._taught.tokens(images).patches)
        return {
            "predicted": predicted.view(*targets.shape, -1),
            "target": taken(features, targets.flatten(1)).view(*targets.shape, -1),
        }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Smooth L1, quadratic below an error of 1."""
        return smooth_l1_loss(outputs["predicted"], outputs["target"])

    def after_update(self, progress: Progress) -> None:
        """The teacher follows."""
        self.teacher.follow(self.encoder, linear(*self.settings.momentum, progress.share))

    def published(self) -> Backbone:
        """The teacher's."""
        return self._taught.backbone

    @property
    def _taught(self) -> TokenEncoder:
        return cast(TokenEncoder, self.teacher.copy)

    def _drawn(self, images: int) -> PredictedBlocks:
        wanted = self.settings
        return predicted_blocks(
            self.encoder.grid,
            images,
            wanted.targets,
            wanted.scale,
            wanted.aspect,
            wanted.context,
            torch.default_generator,
        )


METHODS = {"ijepa": IJEPA}
PRESETS = {
    "ijepa": {
        "cifar": Preset(
            settings=IJEPA(
                views=(ViewGroup(crop_scale=(0.3, 1.0), flip=0.0),),
                predictor_width=96,
                predictor_depth=4,
                predictor_heads=3,
            ),
            recipe=Recipe(epochs=1000, global_batch=256, learning_rate=1e-3, weight_decay=0.05, warmup_epochs=10),
            architecture="timm:vit_tiny_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32, **WITHOUT_CLASS_TOKEN},
            size=32,
            source="our choice after the paper's recipe; not run here at this length",
        ),
        "imagenet": Preset(
            settings=IJEPA(),
            recipe=Recipe(
                epochs=600,
                global_batch=2048,
                learning_rate=1e-3,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=40,
                warmup_learning_rate=2e-4,
            ),
            architecture="timm:vit_base_patch16_224",
            kwargs=WITHOUT_CLASS_TOKEN,
            size=224,
            source="the paper's for ViT-B/16, 72.9 linear there; not run here",
        ),
    }
}
