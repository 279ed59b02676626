"""DeepCluster-v2 (Caron et al. 2020, arXiv 2006.09882): views predict the cluster their image was in an epoch ago.

    z_v = g(f(view_v)) / |..|;  memory[a, image] = z_a as it last was, of the first two views a
    after each epoch, for each head h:  c_h = centroids of spherical k-means of memory[h mod 2]
    y_h = argmax over c of <memory[h mod 2, image], c_h>
    L = mean over heads, views and images of  CE(y_h, softmax(<z_v, c_h> / T))

The first epoch has no clusters yet: it fills the memory, its loss is 0, and weights only decay.
Deviations: the paper fills the memory by a pass of its own, here it is the first of the recipe's epochs. k-means begins
with k-means++, not with random points. An image that no epoch has shown yet (an epoch drops less than a batch) is left
out of k-means and loss. The blur of small crops shrinks with them.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import normalize

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.clustering import UNKNOWN, cluster_prediction
from backbones.pretraining.method import Batch, Given, Method, MethodFamily, MethodSettings, Outputs, Progress
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.parts.spherical_kmeans import nearest, spherical_kmeans
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import SYMMETRIC, ViewGroup, colour
from backbones.training.recipe import Recipe
from backbones.training.trainee import Whole

REMEMBERED = 2
"""Views whose vectors are kept, the first ones."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DeepClusterV2(MethodSettings):
    """``projector``: widths after the encoder's; the last is z's. ``clusters``: of each of the ``heads``."""

    family: ClassVar[MethodFamily] = "clustering"

    views: tuple[ViewGroup, ...] = SYMMETRIC
    temperature: float = Field(default=0.1, gt=0)
    heads: int = Field(default=3, ge=1)
    clusters: int = Field(default=3000, ge=2)
    iterations: int = Field(default=10, ge=1)
    projector: tuple[int, ...] = (2048, 128)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for fewer than two views, or fewer images than clusters."""
        made = sum(group.count for group in self.views)
        if made < REMEMBERED:
            raise ValueError(f"DeepClusterV2 takes at least {REMEMBERED} views, and its groups make {made}")
        if given.images < 2 * self.clusters:  # an epoch shows more than half of them
            raise ValueError(
                f"clusters={self.clusters} is too many for {given.images} images; use at most {given.images // 2}"
            )
        return _DeepClusterV2(self, encoder, given.images)


class _DeepClusterV2(Whole, Method):
    whole_batch = True  # for the memory, which is to be the same on all devices

    def __init__(self, settings: DeepClusterV2, encoder: Encoder, images: int) -> None:
        super().__init__(encoder)
        self.settings = settings
        dim = settings.projector[-1]
        self.projector = mlp((encoder.dim, *settings.projector))
        self.memory = nn.Parameter(torch.zeros(REMEMBERED, images, dim), requires_grad=False)
        self.centroids = nn.Parameter(torch.zeros(settings.heads, settings.clusters, dim), requires_grad=False)
        self._newest: tuple[Tensor, Tensor] | None = None  # of the step under way: every forward pass begins it anew

    def represent(self, batch: Batch) -> Outputs:
        """z of all views, (batch, views, dim), and the images' rows."""
        vectors = embedded(self.encoder, batch.views, together=True)
        z = normalize(self.projector(torch.cat(vectors)).float(), dim=-1)
        return {"z": torch.stack(z.chunk(len(vectors)), dim=1), "rows": batch.rows}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The mean over heads; 0, without a gradient other than 0, in the first epoch."""
        z, rows = outputs["z"], outputs["rows"]
        self._newest = (rows, z[:, :REMEMBERED].detach())
        if progress.epoch < 1:
            return 0 * z.sum()
        remembered = self.memory[:, rows]
        known = remembered[0].any(dim=1)
        losses = []
        for head, centroids in enumerate(self.centroids):
            clusters = nearest(remembered[head % REMEMBERED], centroids).where(known, UNKNOWN)
            losses.append(cluster_prediction(z @ centroids.T, clusters, self.settings.temperature))
        return torch.stack(losses).mean()

    def after_update(self, progress: Progress) -> None:
        """The memory takes the batch; after an epoch it is clustered."""
        if self._newest is not None:
            rows, z = self._newest
            self.memory[:, rows] = z.transpose(0, 1)
        self._newest = None
        if progress.ends_epoch:
            self._cluster(progress.step)

    def _cluster(self, seed: int) -> None:
        known = self.memory[0].any(dim=1)
        for head in range(self.settings.heads):
            points = self.memory[head % REMEMBERED][known]
            settings, own = self.settings, seed * self.settings.heads + head
            self.centroids[head] = spherical_kmeans(points, settings.clusters, settings.iterations, own)


METHODS = {"deepcluster_v2": DeepClusterV2}
PRESETS = {
    "deepcluster_v2": {
        "cifar": Preset(
            settings=DeepClusterV2(views=(ViewGroup(count=2, **colour()),)),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.6,
                weight_decay=1e-6,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=11,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0006,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR without blur; 88.9 linear there; sets of some thousand images want "
            "300 to 500 clusters; not run here at this length",
        ),
        "imagenet": Preset(
            settings=DeepClusterV2(
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
            source="the paper's in 800 epochs, 75.2 linear there; not run here",
        ),
    }
}
