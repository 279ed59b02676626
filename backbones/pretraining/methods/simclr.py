"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views of an image attract each other and repel other images.

    h_k = f(view_k);  z_k = g(h_k) / |g(h_k)|,  g an MLP with BatchNorm, the last without scale and shift
    L = mean over 2B anchors of  -s + log(exp s + N),  s = <z_i^k, z_i^k'> / tau,  N of the other images

Deviations: none that is known. The ImageNet recipe is SimCLR's own in 1,000 epochs, the small one solo-learn's numbers.
"""

from functools import partial
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.contrastive import info_nce
from backbones.pretraining.method import Given, Method, MethodFamily, MethodSettings, check_views
from backbones.pretraining.parts.projections import Projections
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import SYMMETRIC, ViewGroup, colour
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimCLR(MethodSettings):
    """``projector``: widths after the encoder's; the last is z's."""

    family: ClassVar[MethodFamily] = "contrastive"

    views: tuple[ViewGroup, ...] = SYMMETRIC
    temperature: float = Field(default=0.1, gt=0)
    projector: tuple[int, ...] = (2048, 128)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return Projections(encoder, self.projector, partial(info_nce, temperature=self.temperature))


METHODS = {"simclr": SimCLR}
PRESETS = {
    "simclr": {
        "cifar": Preset(
            settings=SimCLR(views=(ViewGroup(count=2, **colour()),), temperature=0.2, projector=(2048, 256)),
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
            source="solo-learn's settings for CIFAR without blur; 90.7 linear there; not run here at this length",
        ),
        "imagenet": Preset(
            settings=SimCLR(),
            recipe=Recipe(
                epochs=1000,
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
            source="the paper's: LARS at 0.3 * batch / 256, 69.1 linear there; not run here",
        ),
    }
}
