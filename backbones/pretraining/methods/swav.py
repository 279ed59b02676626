"""SwAV (Caron et al. 2020, arXiv 2006.09882): views predict each other's soft cluster, clusters being used alike.

    z_v = g(f(view_v)) / |..|;  scores_v = <z_v, c>,  c the prototypes, of unit length after every step
    q_a = Sinkhorn(scores_a / epsilon) of the first two views a, over the batch (and the queue), without gradient
    L = mean over a, other views v and images of  CE(q_a, softmax(scores_v / T))

Prototypes do not move in the first ``frozen_epochs``. With a ``queue``, past vectors z take part in the Sinkhorn of a
small batch, once it is full; it fills from ``queue_from_epoch`` on.
Deviations: prototypes start as uniformly random directions. The blur of small crops shrinks with them.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import normalize

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.clustering import swapped_prediction
from backbones.pretraining.method import Batch, Given, Method, MethodFamily, MethodSettings, Outputs, Progress
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.parts.prototypes import Prototypes
from backbones.pretraining.parts.queue import Queue
from backbones.pretraining.parts.sinkhorn import sinkhorn
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import SYMMETRIC, ViewGroup, colour
from backbones.training.recipe import Recipe

CODED = 2
"""Views that get a code, the first ones."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SwAV(MethodSettings):
    """``projector``: widths after the encoder's; the last is z's. ``queue``: how many past images it holds; 0: none."""

    family: ClassVar[MethodFamily] = "clustering"

    views: tuple[ViewGroup, ...] = SYMMETRIC
    temperature: float = Field(default=0.1, gt=0)
    epsilon: float = Field(default=0.05, gt=0)
    iterations: int = Field(default=3, ge=1)
    prototypes: int = Field(default=3000, ge=2)
    projector: tuple[int, ...] = (2048, 128)
    frozen_epochs: float = Field(default=1.0, ge=0)
    queue: int = Field(default=0, ge=0)
    queue_from_epoch: float = Field(default=15.0, ge=0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for fewer than two views, or first two of different groups and sizes."""
        sizes = [group.size for group in self.views for _ in range(group.count)]
        if len(sizes) < CODED or len(set(sizes[:CODED])) > 1:
            raise ValueError(f"SwAV takes at least {CODED} views, the first {CODED} of one size; sizes: {sizes}")
        return _SwAV(self, encoder)


class _SwAV(Method):
    whole_batch = True

    def __init__(self, settings: SwAV, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        dim = settings.projector[-1]
        self.projector = mlp((encoder.dim, *settings.projector))
        self.prototypes = Prototypes(settings.prototypes, dim)
        self.queue = Queue(settings.queue, CODED, dim) if settings.queue else None
        self._newest: Tensor | None = None  # of the step under way: every forward pass begins it anew

    def represent(self, batch: Batch) -> Outputs:
        """Scores of all views, (batch, views, prototypes), and z of the coded ones without gradient."""
        vectors = embedded(self.encoder, batch.views, together=True)
        z = normalize(self.projector(torch.cat(vectors)).float(), dim=-1)
        scores = self.prototypes(z).chunk(len(vectors))
        coded = z.chunk(len(vectors))[:CODED]
        return {"scores": torch.stack(scores, dim=1), "z": torch.stack(coded, dim=1).detach()}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The mean over all swaps."""
        scores, self._newest = outputs["scores"], outputs["z"]
        codes = torch.stack([self._codes(scores[:, view].detach(), view) for view in range(CODED)], dim=1)
        return swapped_prediction(scores, codes, self.settings.temperature)

    def before_update(self, progress: Progress) -> None:
        """Prototypes stay at first."""
        if progress.epoch < self.settings.frozen_epochs:
            self.prototypes.weight.grad = None

    def after_update(self, progress: Progress) -> None:
        """Prototypes get back to unit length, and the coded views enter the queue."""
        self.prototypes.renormalise()
        filling = progress.epoch >= self.settings.queue_from_epoch
        if self.queue is not None and self._newest is not None and filling:
            self.queue.add(self._newest)
        self._newest = None

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """``prototype_entropy`` of the views' mean assignment, as a share of the most: 0 where all choose the same."""
        scores = self.represent(batch)["scores"].flatten(0, 1)
        mean = (scores / self.settings.temperature).softmax(1).mean(0)
        return {"prototype_entropy": float(torch.special.entr(mean).sum() / torch.tensor(len(mean)).log())}

    def _codes(self, scores: Float[Tensor, "batch prototypes"], view: int) -> Float[Tensor, "batch prototypes"]:
        together = scores
        if self.queue is not None and self.queue.full:
            together = torch.cat([scores, self.prototypes(self.queue.vectors[:, view]).detach()])
        return sinkhorn(together, self.settings.epsilon, self.settings.iterations)[: len(scores)]


METHODS = {"swav": SwAV}
PRESETS = {
    "swav": {
        "cifar": Preset(
            settings=SwAV(
                views=(ViewGroup(count=2, **colour()),),
                frozen_epochs=2,
                queue=3840,
                queue_from_epoch=50,
            ),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.6,
                weight_decay=1e-6,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR without blur; 89.2 linear there; sets of some thousand "
            "images want 300 to 500 prototypes; not run here at this length",
        ),
        "imagenet": Preset(
            settings=SwAV(
                views=(
                    ViewGroup(count=2, crop_scale=(0.14, 1.0), blur=0.5, **colour()),
                    ViewGroup(count=6, size=96, crop_scale=(0.05, 0.14), blur=0.5, **colour()),
                ),
            ),
            recipe=Recipe(
                epochs=800,
                global_batch=4096,
                optimiser="lars",
                learning_rate=4.8,
                weight_decay=1e-6,
                decay_vectors=True,
                warmup_epochs=10,
                warmup_learning_rate=0.3,
                minimum_learning_rate=0.0048,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the paper's in 800 epochs, 75.3 linear there; its own for small batches: 256 at a rate of 0.6, "
            "with a queue of 3840 from epoch 15; not run here",
        ),
    }
}
