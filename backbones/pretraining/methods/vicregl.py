"""VICRegL (Bardes et al. 2022, arXiv 2210.01571): VICReg of whole views and of matching locations of their last maps.

    y_v = the last map of view v;  h_v = its mean;  z_v = g(h_v);  y_v,l -> u_v,l = g'(y_v,l) at every location l
    L = alpha Global + (1 - alpha) (Place + Feature)
    Global = 25 mean over pairs of s(z_a, z_b) + 25 mean over views of v(z) + 1 mean over views of c(z)
    Place, Feature = mean over pairs of [d(a, b) + d(b, a)] / 2
    d(a, b) = 25 s(u_a, u_b) + 25 (v(u_a) + v(u_b)) / 2 + 1 (c(u_a) + c(u_b)) / 2 over the matches of a in b

A match is a location of a with the one of b that is nearest in the image (Place) or in u (Feature); the gamma nearest
are kept, the n-th match of all images being the batch of v and c. Pairs are of large views with each other and with
small ones. s, v, c as in VICReg, over the whole batch, so what all devices found comes together.

Deviations: distances in the image are in shares of its height and width, where the authors' are pixels. Places of a
mirrored view are mirrored, as in the paper; the authors' code leaves that out by default. Feature too keeps gamma
matches, as in the paper, where the code keeps all. gamma is that of the view matched from, as in the paper; the code
takes 20 one way and 4 the other. The mean of c over views is the code's; VICReg has their sum. Where the encoder's
embedding is not the mean of its last map (a class token, a last norm), h is the embedding, in a pass of its own. Views
are resized bilinearly, not bicubically. The small recipe is VICReg's with our choice of gamma.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.vicreg import covariance, invariance, variance
from backbones.pretraining.method import (
    Batch,
    Given,
    Method,
    MethodFamily,
    MethodSettings,
    Needs,
    Outputs,
    Progress,
    View,
)
from backbones.pretraining.parts.matches import chosen, nearest, places
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC, ViewGroup, colour
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VICRegL(MethodSettings):
    """``projector`` and ``map_projector``: widths after the encoder's, of whole views and of locations; ``alpha``: the
    share of the global loss; ``matches``: gamma of views of the encoder's size, ``small_matches`` of smaller ones.
    """

    family: ClassVar[MethodFamily] = "information maximisation"
    needs: ClassVar[Needs] = "map"

    views: tuple[ViewGroup, ...] = ASYMMETRIC
    projector: tuple[int, ...] = (8192, 8192, 8192)
    map_projector: tuple[int, ...] = (512, 512, 512)
    alpha: float = Field(default=0.75, ge=0, le=1)
    matches: int = Field(default=20, ge=1)
    small_matches: int = Field(default=4, ge=1)
    invariance: float = Field(default=25.0, ge=0)
    variance: float = Field(default=25.0, ge=0)
    covariance: float = Field(default=1.0, ge=0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for fewer than two large views."""
        if sum(self.large(encoder)) < 2:
            raise ValueError(f"VICRegL takes at least 2 views of the encoder's size, {encoder.size[0]} pixels")
        return _VICRegL(self, encoder)

    def large(self, encoder: Encoder) -> list[bool]:
        """Of each view, whether it is of the encoder's size."""
        return [group.size in (None, encoder.size[0]) for group in self.views for _ in range(group.count)]


class _VICRegL(Method):
    whole_batch = True

    def __init__(self, settings: VICRegL, encoder: Encoder) -> None:
        super().__init__(encoder)
        assert encoder.map_dim is not None
        self.settings = settings
        self.large = settings.large(encoder)
        self.pairs = _pairs(self.large)
        self.from_map = _embeds_mean_of_map(encoder)
        self.projector = mlp((encoder.dim, *settings.projector), last_bias=False)
        self.map_projector = mlp((encoder.map_dim, *settings.map_projector), last_bias=False)

    def represent(self, batch: Batch) -> Outputs:
        """z of all views, and, view by view since maps differ in size, u and where in the image its locations are."""
        found: dict[str, Tensor] = {}
        whole: list[Tensor] = []
        for number, view in enumerate(batch.views):
            features = self.encoder.last_map(view.images)
            whole.append(self.projector(features.mean((2, 3)) if self.from_map else self.encoder(view.images)))
            found[f"u{number}"] = self._projected(features)
            found[f"places{number}"] = _places(view, features)
        return {"z": torch.stack(whole, dim=1), **found}

    def _projected(self, features: Tensor) -> Tensor:
        locations = features.flatten(2).transpose(1, 2)
        projected: Tensor = self.map_projector(locations.flatten(0, 1))
        return projected.view(*locations.shape[:2], -1)

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """alpha of the global loss, the rest of the local one."""
        alpha, views = self.settings.alpha, range(len(self.large))
        u = [outputs[f"u{number}"] for number in views]
        where = [outputs[f"places{number}"] for number in views]
        return alpha * self._global(outputs["z"].unbind(1)) + (1 - alpha) * self._local(u, where)

    def _global(self, z: Sequence[Tensor]) -> Tensor:
        weights = self.settings
        alike = torch.stack([weight * invariance(z[a], z[b]) for a, b, weight in self.pairs]).sum()
        spread = torch.stack([weights.variance * variance(each) + weights.covariance * covariance(each) for each in z])
        return weights.invariance * alike / sum(weight for _, _, weight in self.pairs) + spread.mean()

    def _local(self, u: Sequence[Tensor], where: Sequence[Tensor]) -> Tensor:
        found = [
            weight * self._matched(u[here], u[there], where[here], where[there], self._count(here))
            for a, b, weight in self.pairs
            for here, there in ((a, b), (b, a))
        ]
        return torch.stack(found).sum() / 2 / sum(weight for _, _, weight in self.pairs)

    def _matched(self, here: Tensor, there: Tensor, where: Tensor, elsewhere: Tensor, count: int) -> Tensor:
        near = nearest(_distances(where, elsewhere), count)
        like = nearest(torch.cdist(here.detach(), there.detach()), count)
        return torch.stack([self._vicreg(chosen(here, one), chosen(there, other)) for one, other in (near, like)]).sum()

    def _vicreg(self, first: Tensor, second: Tensor) -> Tensor:
        weights = self.settings
        spread = weights.variance * (variance(first) + variance(second))
        shared = weights.covariance * (covariance(first) + covariance(second))
        return weights.invariance * invariance(first, second) + (spread + shared) / 2

    def _count(self, view: int) -> int:
        return self.settings.matches if self.large[view] else self.settings.small_matches


def _pairs(large: Sequence[bool]) -> list[tuple[int, int, int]]:
    """Pairs of views, and how often they come if every large view meets every other view."""
    counted = [(a, b, large[a] + large[b]) for a, b in combinations(range(len(large)), 2)]
    return [(a, b, weight) for a, b, weight in counted if weight]


def _places(view: View, features: Tensor) -> Tensor:
    return places(view.boxes, view.flipped, features.shape[2], features.shape[3])


def _distances(here: Tensor, there: Tensor) -> Tensor:
    """Not torch's ``cdist``, which loses half the digits where locations are near."""
    return (here[:, :, None] - there[:, None]).square().sum(-1)


@torch.no_grad()
def _embeds_mean_of_map(encoder: Encoder) -> bool:
    """Whether one pass gives both, as of a ResNet; tried on noise, in evaluation mode."""
    training = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    parameter = next(encoder.parameters())
    noise = torch.randn(2, 3, *encoder.size, generator=torch.Generator().manual_seed(0)).to(parameter)
    vectors, pooled = encoder(noise), encoder.last_map(noise).mean((2, 3))
    for module, mode in training:
        module.training = mode
    return vectors.shape == pooled.shape and torch.allclose(vectors, pooled, rtol=1e-4, atol=1e-5)


METHODS = {"vicregl": VICRegL}
PRESETS = {
    "vicregl": {
        "cifar": Preset(
            settings=VICRegL(
                views=(ViewGroup(count=2, crop_scale=(0.2, 1.0), solarise=0.1, **colour(0.5, 0.4)),),
                projector=(2048, 2048, 2048),
                matches=6,
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
            source="solo-learn's settings of VICReg for CIFAR, gamma 6 of 16 locations our choice (the paper's share "
            "of 20 in 49); not run here",
        ),
        "imagenet": Preset(
            settings=VICRegL(alpha=0.9),
            recipe=Recipe(
                epochs=300,
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
            source="the authors' code: LARS at 0.2 * batch / 256; 71.2 linear there, 54.0 mIoU; not run here",
        ),
    }
}
