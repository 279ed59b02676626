"""DCLW (Yeh et al. 2021, arXiv 2110.06848): DCL that pulls harder on pairs of views that are still apart.

    h_k = f(view_k);  z_k = g(h_k) / |g(h_k)|,  g an MLP with BatchNorm, the last without scale and shift
    w_i = 2 - B softmax over the batch of <z_i^1, z_i^2> / sigma
    L = mean over 2B anchors of  -w s + log N,  s = <z_i^k, z_i^k'> / tau,  N of the other images

Deviations: no gradient goes through w, where the paper's code lets it; a mean over all 2B anchors, where that code adds
up its two directions (twice this loss).
"""

from functools import partial
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.contrastive import dclw
from backbones.pretraining.method import Given, Method, MethodFamily, MethodSettings, check_views
from backbones.pretraining.parts.projections import Projections
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import SYMMETRIC, ViewGroup, colour
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DCLW(MethodSettings):
    """``projector``: widths after the encoder's; the last is z's. ``sigma``: the smaller, the more weights differ."""

    family: ClassVar[MethodFamily] = "contrastive"

    views: tuple[ViewGroup, ...] = SYMMETRIC
    temperature: float = Field(default=0.1, gt=0)
    sigma: float = Field(default=0.5, gt=0)
    projector: tuple[int, ...] = (2048, 128)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        objective = partial(dclw, temperature=self.temperature, sigma=self.sigma)
        return Projections(encoder, self.projector, objective)


METHODS = {"dclw": DCLW}
PRESETS = {
    "dclw": {
        "cifar": Preset(
            settings=DCLW(views=(ViewGroup(count=2, **colour()),), projector=(2048, 256)),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.4,
                weight_decay=1e-4,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings of SimCLR for CIFAR without blur, the paper's temperature; not run here",
        ),
        "imagenet": Preset(
            settings=DCLW(),
            recipe=Recipe(
                epochs=200,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.3,
                weight_decay=1e-6,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the paper's batch and length for DCL with SimCLR's 0.3 * batch / 256; not run here",
        ),
    }
}
