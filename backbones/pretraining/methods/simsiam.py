"""SimSiam (Chen & He 2021, arXiv 2011.10566): one view predicts the other's vector, which is held still.

    z_k = g(f(view_k)), ending in BatchNorm without scale and shift;  p_k = q(z_k)
    L = -1/2 [cos(p_1, sg z_2) + cos(p_2, sg z_1)],  sg: no gradient

The mean over images of a loss of each alone; they meet in BatchNorm only. The predictor's learning rate has no
schedule. Weight decay acts on all parameters, as in the authors' code.

Deviations: none that is known. The ImageNet recipe is the authors' in 100 epochs, the small one solo-learn's numbers.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.negative_cosine import negative_cosine
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
from backbones.pretraining.views.settings import SYMMETRIC_WEAK, ViewGroup, colour
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimSiam(MethodSettings):
    """``projector``: widths after the encoder's, z's last; ``predictor``: its hidden width, a bottleneck."""

    family: ClassVar[MethodFamily] = "self-distillation"

    views: tuple[ViewGroup, ...] = SYMMETRIC_WEAK
    projector: tuple[int, ...] = (2048, 2048, 2048)
    predictor: int = Field(default=512, ge=1)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return _SimSiam(self, encoder)


class _SimSiam(Method):
    def __init__(self, settings: SimSiam, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.projector = mlp((encoder.dim, *settings.projector), last_norm=True)
        self.predictor = mlp((settings.projector[-1], settings.predictor, settings.projector[-1]))

    def represent(self, batch: Batch) -> Outputs:
        """p and the held z of both views."""
        z = embedded(nn.Sequential(self.encoder, self.projector), batch.views, together=False)
        predicted = [self.predictor(each) for each in z]
        return {"p": torch.stack(predicted, dim=1), "z": torch.stack(z, dim=1).detach()}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The mean over both directions."""
        return negative_cosine(outputs["p"], outputs["z"].flip(1))

    def steady(self) -> list[nn.Parameter]:
        """The predictor's: it has to keep up with z, which still changes late in training."""
        return list(self.predictor.parameters())


METHODS = {"simsiam": SimSiam}
PRESETS = {
    "simsiam": {
        "cifar": Preset(
            settings=SimSiam(views=(ViewGroup(count=2, **colour(0.5)),)),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="sgd",
                learning_rate=0.5,
                weight_decay=1e-5,
                decay_vectors=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR without blur; 90.5 linear there; not run here at this length",
        ),
        "imagenet": Preset(
            settings=SimSiam(),
            recipe=Recipe(
                epochs=100,
                global_batch=512,
                optimiser="sgd",
                learning_rate=0.1,
                schedule="cosine_by_epoch",
                weight_decay=1e-4,
                decay_vectors=True,
                warmup_epochs=0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the authors' code: SGD at 0.05 * batch / 256, 68.1 linear there; not run here",
        ),
    }
}
