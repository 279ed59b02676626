"""MoCo v3 (Chen et al. 2021, arXiv 2104.02057): views predict what a slowly moving copy makes of the other view.

    q_k = p(g(f(view_k))) / |..|,  k_k = g'(f'(view_k)) / |..|;  f', g' the EMA of f, g;  g and p MLPs with BatchNorm
    L = 2 tau CE(<q_1, k_2> / tau) + 2 tau CE(<q_2, k_1> / tau)  over the batch
    after each step  theta' <- m theta' + (1 - m) theta,  m on half a cosine from ``momentum`` to 1

Of a vision transformer the patch embedding stays as it was drawn (``freeze_patches``), without which training is
unstable. Deviations: a transformer's positions and patch embedding are drawn and trained as timm does, where the paper
has fixed positions of sines and cosines and a patch embedding drawn by its number of inputs and outputs.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import normalize

from backbones.pretraining.encoder import Encoder, TokenEncoder
from backbones.pretraining.losses.contrastive import query_key
from backbones.pretraining.method import (
    Batch,
    Given,
    Method,
    MethodFamily,
    MethodSettings,
    Outputs,
    Progress,
    check_views,
)
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.parts.schedules import cosine
from backbones.pretraining.parts.teacher import Teacher
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC, ASYMMETRIC_SMALL, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MoCoV3(MethodSettings):
    """``projector``: widths after the encoder's, ``predictor`` after the projector's; both end with the same.

    ``predictor_norm``: whether the predictor ends with BatchNorm, as the paper's for transformers does.
    """

    family: ClassVar[MethodFamily] = "contrastive"

    views: tuple[ViewGroup, ...] = ASYMMETRIC
    temperature: float = Field(default=1.0, gt=0)
    momentum: float = Field(default=0.99, ge=0, le=1)
    projector: tuple[int, ...] = (4096, 256)
    predictor: tuple[int, ...] = (4096, 256)
    predictor_norm: bool = False
    freeze_patches: bool = True

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views, or a predictor of another width than the projector."""
        check_views(self, 2)
        if self.projector[-1:] != self.predictor[-1:]:
            raise ValueError(f"projector {self.projector} and predictor {self.predictor} must end with the same width")
        return _MoCoV3(self, encoder)


class _MoCoV3(Method):
    whole_batch = True

    def __init__(self, settings: MoCoV3, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        if settings.freeze_patches and isinstance(encoder, TokenEncoder):
            encoder.patch_embedding.requires_grad_(False)
        self.projector = mlp((encoder.dim, *settings.projector), last_norm=True)
        widths = (settings.projector[-1], *settings.predictor)
        self.predictor = mlp(widths, last_norm=settings.predictor_norm, last_bias=False)
        self.teacher = Teacher(self._student())

    def represent(self, batch: Batch) -> Outputs:
        """Queries and keys of both views, not yet of unit length."""
        queries = [self.predictor(each) for each in embedded(self._student(), batch.views, together=False)]
        keys = embedded(self.teacher, batch.views, together=False)
        return {"queries": torch.stack(queries, dim=1), "keys": torch.stack(keys, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Both directions' sum, as in the paper."""
        queries, keys = (normalize(outputs[name], dim=-1) for name in ("queries", "keys"))
        temperature = self.settings.temperature
        return (
            2
            * temperature
            * (query_key(queries[:, 0], keys[:, 1], temperature) + query_key(queries[:, 1], keys[:, 0], temperature))
        )

    def after_update(self, progress: Progress) -> None:
        """The teacher follows."""
        self.teacher.follow(self._student(), cosine(self.settings.momentum, 1.0, progress.share))

    def _student(self) -> nn.Module:
        """What the teacher copies; made on demand, for a module must have its parameters under one name."""
        return nn.Sequential(self.encoder, self.projector)


METHODS = {"moco_v3": MoCoV3}
PRESETS = {
    "moco_v3": {
        "cifar": Preset(
            settings=MoCoV3(views=ASYMMETRIC_SMALL, temperature=0.2),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.3,
                weight_decay=1e-6,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR; 93.1 linear there; not run here at this length",
        ),
        "imagenet": Preset(
            settings=MoCoV3(views=tuple(replace(group, crop_scale=(0.2, 1.0)) for group in ASYMMETRIC)),
            recipe=Recipe(
                epochs=300,
                global_batch=4096,
                optimiser="lars",
                learning_rate=4.8,
                weight_decay=1e-6,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the paper's for ResNet-50: LARS at 0.3 * batch / 256, 72.8 linear there; not run here",
        ),
        "imagenet-vit": Preset(
            settings=MoCoV3(temperature=0.2, projector=(4096, 4096, 256), predictor_norm=True),
            recipe=Recipe(
                epochs=300,
                global_batch=4096,
                optimiser="adamw",
                learning_rate=2.4e-3,
                weight_decay=0.1,
                warmup_epochs=40,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:vit_small_patch16_224",
            size=224,
            kwargs={"num_heads": 12},
            source="the paper's for its ViT-S (12 heads): AdamW at 1.5e-4 * batch / 256; 73.2 linear there; "
            "not run here",
        ),
    }
}
