"""DCL (Yeh et al. 2021, arXiv 2110.06848): SimCLR whose positive pair is not among what it is compared with.

    h_k = f(view_k);  z_k = g(h_k) / |g(h_k)|,  g an MLP with BatchNorm, the last without scale and shift
    L = mean over 2B anchors of  -s + log N,  s = <z_i^k, z_i^k'> / tau,  N of the other images

Deviations: a mean over all 2B anchors, where the paper's code adds up its two directions (twice this loss).
"""

from functools import partial
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.contrastive import dcl
from backbones.pretraining.method import Given, Method, MethodFamily, MethodSettings, check_views
from backbones.pretraining.parts.projections import Projections
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import SYMMETRIC, ViewGroup, colour
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DCL(MethodSettings):
    """``projector``: widths after the encoder's; the last is z's."""

    family: ClassVar[MethodFamily] = "contrastive"

    views: tuple[ViewGroup, ...] = SYMMETRIC
    temperature: float = Field(default=0.1, gt=0)
    projector: tuple[int, ...] = (2048, 128)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return Projections(encoder, self.projector, partial(dcl, temperature=self.temperature))


METHODS = {"dcl": DCL}
PRESETS = {
    "dcl": {
        "cifar": Preset(
            settings=DCL(views=(ViewGroup(count=2, **colour()),), projector=(2048, 256)),
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
            settings=DCL(),
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
            source="the paper's batch and length (68.2 linear there) with SimCLR's 0.3 * batch / 256; not run here",
        ),
    }
}
