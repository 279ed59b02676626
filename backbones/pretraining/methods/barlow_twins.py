"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): two views correlate in each dimension and in no two.

    z_k = g(f(view_k)), not normalised
    C = the cross-correlation of z_1 and z_2 over the batch
    L = scale * (sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2)

C is of the whole batch, so all devices' z come together.

Deviations: views are resized bilinearly, not bicubically. The ImageNet recipe is the authors' in 1,000 epochs, who give
biases and norms another learning rate (0.0048 against 0.2, * batch / 256): LARS makes matrices' steps independent of
the loss's scale, so a scale of 0.0048 / 0.2 = 0.024, with the weight decay scaled alike, gives exactly their steps. The
small recipe is solo-learn's numbers.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.barlow_twins import barlow_twins
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
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC, ASYMMETRIC_SMALL, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BarlowTwins(MethodSettings):
    """``projector``: widths after the encoder's, z's last; ``redundancy`` is lambda, ``scale`` multiplies the loss."""

    family: ClassVar[MethodFamily] = "information maximisation"

    views: tuple[ViewGroup, ...] = ASYMMETRIC
    projector: tuple[int, ...] = (8192, 8192, 8192)
    redundancy: float = Field(default=0.0051, ge=0)
    scale: float = Field(default=1.0, gt=0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return _BarlowTwins(self, encoder)


class _BarlowTwins(Method):
    whole_batch = True

    def __init__(self, settings: BarlowTwins, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.projector = mlp((encoder.dim, *settings.projector), last_bias=False)

    def represent(self, batch: Batch) -> Outputs:
        """z of both views."""
        z = embedded(nn.Sequential(self.encoder, self.projector), batch.views, together=False)
        return {"z": torch.stack(z, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Redundancy reduction."""
        first, second = outputs["z"].unbind(1)
        return self.settings.scale * barlow_twins(first, second, self.settings.redundancy)


METHODS = {"barlow_twins": BarlowTwins}
PRESETS = {
    "barlow_twins": {
        "cifar": Preset(
            settings=BarlowTwins(views=ASYMMETRIC_SMALL, projector=(2048, 2048, 2048), redundancy=0.005, scale=0.1),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.3,
                weight_decay=1e-4,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR; 92.1 linear there; not run here at this length",
        ),
        "imagenet": Preset(
            settings=BarlowTwins(scale=0.024),
            recipe=Recipe(
                epochs=1000,
                global_batch=2048,
                optimiser="lars",
                learning_rate=1.6,
                weight_decay=2.4e-8,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                minimum_learning_rate=1.6e-3,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the authors' code: LARS at 0.2 and 0.0048 (biases, norms) * batch / 256, "
            "73.5 linear there; not run here",
        ),
    }
}
