"""NNCLR (Dwibedi et al. 2021, arXiv 2104.14548): a view's nearest neighbour among past images attracts the other view.

    h_k = f(view_k);  z_k = g(h_k) / |g(h_k)|;  p_k = q(g(h_k)) / |q(g(h_k))|,  g and q MLPs with BatchNorm
    n_k = the vector of the queue nearest to z_k, without gradient
    L = 1/2 CE(<n_1, p_2> / tau) + 1/2 CE(<n_2, p_1> / tau)  over the batch;  then z_1 enters the queue

``decoupled`` leaves the positive out of the denominator (DCL, arXiv 2110.06848, which reports the two together).
Deviations: the last BatchNorm of g has no scale and shift.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import normalize

from backbones.pretraining.encoder import Encoder
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
from backbones.pretraining.parts.queue import Queue
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC, ASYMMETRIC_SMALL, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NNCLR(MethodSettings):
    """``projector``: widths after the encoder's, ``predictor`` after the projector's; both end with the same.

    ``queue`` counts the past images among which neighbours are sought.
    """

    family: ClassVar[MethodFamily] = "contrastive"

    views: tuple[ViewGroup, ...] = ASYMMETRIC
    temperature: float = Field(default=0.1, gt=0)
    projector: tuple[int, ...] = (2048, 2048, 256)
    predictor: tuple[int, ...] = (4096, 256)
    queue: int = Field(default=98304, ge=1)
    decoupled: bool = False

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views, or a predictor of another width than the projector."""
        check_views(self, 2)
        if self.projector[-1:] != self.predictor[-1:]:
            raise ValueError(f"projector {self.projector} and predictor {self.predictor} must end with the same width")
        return _NNCLR(self, encoder)


class _NNCLR(Method):
    whole_batch = True

    def __init__(self, settings: NNCLR, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.projector = mlp((encoder.dim, *settings.projector), last_norm=True)
        self.predictor = mlp((settings.projector[-1], *settings.predictor))
        self.queue = Queue(settings.queue, settings.projector[-1])
        self._newest: Tensor | None = None  # of the step under way: every forward pass begins it anew

    def represent(self, batch: Batch) -> Outputs:
        """z without gradient and p of both views, not yet of unit length."""
        projected = [self.projector(vectors) for vectors in embedded(self.encoder, batch.views, together=False)]
        predicted = [self.predictor(each) for each in projected]
        return {"z": torch.stack(projected, dim=1).detach(), "p": torch.stack(predicted, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Both directions' mean."""
        mine = normalize(outputs["z"], dim=-1).unbind(1)
        self._newest = mine[0]
        first, second = normalize(outputs["p"], dim=-1).unbind(1)
        settings = self.settings
        pairs = [(self.queue.nearest(mine[0]), second), (self.queue.nearest(mine[1]), first)]
        losses = [query_key(near, other, settings.temperature, settings.decoupled) for near, other in pairs]
        return torch.stack(losses).mean()

    def after_update(self, progress: Progress) -> None:
        """The first views' vectors enter the queue."""
        if self._newest is not None:
            self.queue.add(self._newest)
        self._newest = None


METHODS = {"nnclr": NNCLR}
PRESETS = {
    "nnclr": {
        "cifar": Preset(
            settings=NNCLR(views=ASYMMETRIC_SMALL, temperature=0.2, queue=65536),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.4,
                weight_decay=1e-5,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR; 91.9 linear there; not run here at this length",
        ),
        "imagenet": Preset(
            settings=NNCLR(),
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
            source="the paper's: LARS at 0.3 * batch / 256, 75.4 linear there; not run here",
        ),
    }
}
