"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views of an image attract each other and repel other images.

    h_k = f(view_k);  z_k = g(h_k) / |g(h_k)|,  g an MLP with BatchNorm, the last without scale and shift
    L = mean over 2B anchors of  -s + log(exp s + N),  s = <z_i^k, z_i^k'> / tau,  N of the other images

Deviations: none that is known. The ImageNet recipe is SimCLR's own in 1,000 epochs, the small one solo-learn's numbers.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import normalize

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.contrastive import info_nce
from backbones.pretraining.method import Batch, Method, MethodFamily, MethodSettings, Outputs, Progress, check_views
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp
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

    def build(self, encoder: Encoder, images: int) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return _SimCLR(self, encoder)


class _SimCLR(Method):
    whole_batch = True

    def __init__(self, settings: SimCLR, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.projector = mlp((encoder.dim, *settings.projector), last_norm=True)

    def represent(self, batch: Batch) -> Outputs:
        """z of both views, not yet of unit length."""
        both = embedded(self.encoder, batch.views, together=True)
        projected = self.projector(torch.cat(both)).chunk(2)
        return {"z": torch.stack(projected, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """NT-Xent."""
        first, second = normalize(outputs["z"], dim=-1).unbind(1)
        return info_nce(first, second, self.settings.temperature)


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
