"""BYOL (Grill et al. 2020, arXiv 2006.07733): one view predicts what a slowly moving teacher makes of the other.

    z_k = g(f(view_k));  p_k = q(z_k);  t_k = g'(f'(view_k)),  f', g' the EMA of f, g
    L = (2 - 2 cos(p_1, t_2)) + (2 - 2 cos(p_2, t_1)),  no gradient into t
    m = 1 - (1 - m_0) (cos(pi step / last step) + 1) / 2

The mean over images of a loss of each alone; they meet in BatchNorm only.

Deviations: views are resized bilinearly, not bicubically. The ImageNet recipe is the authors' in 1,000 epochs, the
small one solo-learn's numbers.
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
from backbones.pretraining.parts.schedules import cosine
from backbones.pretraining.parts.teacher import Teacher
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC, ASYMMETRIC_SMALL, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BYOL(MethodSettings):
    """``projector``: widths after the encoder's, z's last; ``predictor``: its hidden width; ``momentum``: the teacher's
    at the first step (it ends at 1).
    """

    family: ClassVar[MethodFamily] = "self-distillation"

    views: tuple[ViewGroup, ...] = ASYMMETRIC
    projector: tuple[int, ...] = (4096, 256)
    predictor: int = Field(default=4096, ge=1)
    momentum: float = Field(default=0.996, ge=0, le=1)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views."""
        check_views(self, 2)
        return _BYOL(self, encoder)


class _BYOL(Method):
    def __init__(self, settings: BYOL, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.projector = mlp((encoder.dim, *settings.projector), last_bias=False)
        self.predictor = mlp((settings.projector[-1], settings.predictor, settings.projector[-1]), last_bias=False)
        self.teacher = Teacher(self._student())

    def _student(self) -> nn.Module:
        """What the teacher copies. Put together when needed, or its weights would have two names in a checkpoint."""
        return nn.Sequential(self.encoder, self.projector)

    def represent(self, batch: Batch) -> Outputs:
        """p and the teacher's t of both views."""
        predicted = embedded(nn.Sequential(self.encoder, self.projector, self.predictor), batch.views, together=False)
        targets = embedded(self.teacher, batch.views, together=False)
        return {"p": torch.stack(predicted, dim=1), "t": torch.stack(targets, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Both directions' sum: the mean over both views is half of it."""
        return 4 + 4 * negative_cosine(outputs["p"], outputs["t"].flip(1))

    def after_update(self, progress: Progress) -> None:
        """The teacher follows."""
        self.teacher.follow(self._student(), cosine(self.settings.momentum, 1.0, progress.share))


METHODS = {"byol": BYOL}
PRESETS = {
    "byol": {
        "cifar": Preset(
            settings=BYOL(views=ASYMMETRIC_SMALL, momentum=0.99),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=1.0,
                weight_decay=1e-5,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR; 92.6 linear there; not run here at this length",
        ),
        "imagenet": Preset(
            settings=BYOL(),
            recipe=Recipe(
                epochs=1000,
                global_batch=4096,
                optimiser="lars",
                learning_rate=3.2,
                weight_decay=1.5e-6,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                minimum_learning_rate=0.0,
            ),
            architecture="timm:resnet50",
            size=224,
            source="the authors' code: LARS at 0.2 * batch / 256, 74.0 to 74.5 linear there; not run here",
        ),
    }
}
