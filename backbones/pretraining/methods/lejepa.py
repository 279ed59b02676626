"""LeJEPA (Balestriero & LeCun 2025, arXiv 2511.08544): views of an image agree, and z is an isotropic Gaussian.

    z_v = g(f(view_v)), not normalised;  mu = mean of z_v over the global views, those of the first group
    L = (1 - lambda) mean over views, images, dimensions of (mu - z_v)^2 + lambda SIGReg(z)

SIGReg (losses/sigreg.py): of each view over the whole batch, so all devices' z come together. Its random directions are
drawn anew every step, from the step's number: alike on all devices, after a restart and in every training.

Deviations: the local views are of 96 pixels, not 98 (patches of 16, where the authors' are of 14). The ImageNet recipe
is the authors' general advice, the small one their minimal example without blur.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.sigreg import sigreg, slices
from backbones.pretraining.method import Batch, Given, Method, MethodFamily, MethodSettings, Outputs, Progress
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ViewGroup, colour
from backbones.training.recipe import Recipe

GLOBAL = ViewGroup(count=2, crop_scale=(0.3, 1.0), blur=0.5, solarise=0.2, **colour(0.5, 0.4))
LOCAL = ViewGroup(count=6, size=96, crop_scale=(0.05, 0.3), blur=0.5, solarise=0.2, **colour(0.5, 0.4))


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LeJEPA(MethodSettings):
    """``projector``: widths after the encoder's, z's last; ``regularisation`` is lambda; ``slices``: directions a step.

    The first group's views are the global ones.
    """

    family: ClassVar[MethodFamily] = "information maximisation"

    views: tuple[ViewGroup, ...] = (GLOBAL, LOCAL)
    projector: tuple[int, ...] = (2048, 2048, 128)
    regularisation: float = Field(default=0.05, ge=0, le=1)
    slices: int = Field(default=1024, ge=1)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for a single view, which agrees with itself."""
        if sum(group.count for group in self.views) < 2:
            raise ValueError("LeJEPA takes at least 2 views, and its groups make 1")
        return _LeJEPA(self, encoder)


class _LeJEPA(Method):
    whole_batch = True

    def __init__(self, settings: LeJEPA, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.projector = mlp((encoder.dim, *settings.projector))

    def represent(self, batch: Batch) -> Outputs:
        """z of all views."""
        vectors = embedded(self.encoder, batch.views, together=True)
        projected = self.projector(torch.cat(vectors)).chunk(len(vectors))
        return {"z": torch.stack(projected, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Agreement and SIGReg."""
        z, weight = outputs["z"], self.settings.regularisation
        mean = z[:, : self.settings.views[0].count].mean(dim=1, keepdim=True)
        directions = slices(z.shape[-1], self.settings.slices, progress.step).to(z)
        return (1 - weight) * (mean - z).square().mean() + weight * sigreg(z.transpose(0, 1), directions)


METHODS = {"lejepa": LeJEPA}
PRESETS = {
    "lejepa": {
        "cifar": Preset(
            settings=LeJEPA(
                views=(ViewGroup(count=4, solarise=0.2, **colour()),),
                projector=(2048, 2048, 16),
                regularisation=0.02,
                slices=256,
            ),
            recipe=Recipe(
                epochs=800,
                global_batch=256,
                optimiser="adamw",
                learning_rate=2e-3,
                weight_decay=0.05,
                decay_vectors=True,
                warmup_epochs=1,
                warmup_learning_rate=2e-5,
                minimum_learning_rate=1e-3,
            ),
            architecture="timm:vit_tiny_patch16_224",
            size=32,
            source="the authors' minimal example for Imagenette (ViT-S/8 at 128 pixels, 90.7 linear there) with a "
            "smaller encoder and without blur; not run here",
            kwargs={"patch_size": 4, "img_size": 32},
        ),
        "imagenet": Preset(
            settings=LeJEPA(),
            recipe=Recipe(
                epochs=100,
                global_batch=512,
                optimiser="adamw",
                learning_rate=5e-4,
                weight_decay=0.05,
                decay_vectors=True,
                warmup_epochs=10,
                minimum_learning_rate=5e-7,
            ),
            architecture="timm:vit_small_patch16_224",
            size=224,
            source="the authors' README (views, AdamW at 5e-4, weight decay 0.05, the last rate a thousandth); epochs "
            "as theirs for ViT-L, batch and warm-up our choice; not run here",
        ),
    }
}
