"""VICReg (Bardes et al. 2022, arXiv 2105.04906): two views are alike, and z's dimensions spread and do not covary.

    z_k = g(f(view_k)), not normalised
    L = 25 s(z_1, z_2) + 25 (v(z_1) + v(z_2)) / 2 + 1 (c(z_1) + c(z_2))

s the mean squared difference, v how far deviations are below 1, c the squared covariances (losses/vicreg.py), over the
whole batch, so all devices' z come together.

Deviations: s and v are means, as in the authors' code (the paper sums s over dimensions, and v over views). Views are
resized bilinearly, not bicubically. The ImageNet recipe is the authors' in 1,000 epochs, the small one solo-learn's.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.vicreg import covariance, invariance, variance
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
from backbones.pretraining.views.settings import ViewGroup, colour
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VICReg(MethodSettings):
    """``projector``: widths after the encoder's, z's last; then the weights of the three terms. The views are BYOL's
    with the mean of both views' blur and solarisation on each.
    """

    family: ClassVar[MethodFamily] = "information maximisation"

    views: tuple[ViewGroup, ...] = (ViewGroup(count=2, blur=0.5, solarise=0.1, **colour(0.5, 0.4)),)
    projector: tuple[int, ...] = (8192, 8192, 8192)
    invariance: float = Field(default=25.0, ge=0)
    variance: float = Field(default=25.0, ge=0)
    covariance: float = Field(default=1.0, ge=0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return _VICReg(self, encoder)


class _VICReg(Method):
    whole_batch = True

    def __init__(self, settings: VICReg, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.projector = mlp((encoder.dim, *settings.projector), last_bias=False)

    def represent(self, batch: Batch) -> Outputs:
        """z of both views."""
        z = embedded(nn.Sequential(self.encoder, self.projector), batch.views, together=False)
        return {"z": torch.stack(z, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The three terms."""
        (first, second), weights = outputs["z"].unbind(1), self.settings
        return (
            weights.invariance * invariance(first, second)
            + weights.variance * (variance(first) + variance(second)) / 2
            + weights.covariance * (covariance(first) + covariance(second))
        )


METHODS = {"vicreg": VICReg}
PRESETS = {
    "vicreg": {
        "cifar": Preset(
            settings=VICReg(
                views=(ViewGroup(count=2, crop_scale=(0.2, 1.0), solarise=0.1, **colour(0.5, 0.4)),),
                projector=(2048, 2048, 2048),
            ),
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
            settings=VICReg(),
            recipe=Recipe(
                epochs=1000,
                global_batch=2048,
                optimiser="lars",
                learning_rate=1.6,
                weight_decay=1e-6,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                minimum_learning_rate=1.6e-3,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the authors' code: LARS at 0.2 * batch / 256, 73.2 linear there; not run here",
        ),
    }
}
