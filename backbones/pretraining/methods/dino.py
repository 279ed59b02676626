"""DINO (Caron et al. 2021, arXiv 2104.14294): a student predicts, from any view, its teacher's output of a global one.

    s_v = g(f(view_v)) of all views;  t_g = g'(f'(view_g)) of the two global ones, f', g' averages (EMA) of f, g
    p_s = softmax(s / tau_s);  p_t = softmax((t - c) / tau_t);  c <- m c + (1 - m) mean t, once a step
    L = mean over g and v != g of - sum p_t(g) log p_s(v)

Deviations: the teacher's temperature rises step by step, not epoch by epoch; a view is resized bilinearly, not by a
bicubic; a recipe's clipping is of the whole gradient, not of each parameter's; the last layer's norm is always 1.
"""

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from backbones.base import Backbone
from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.cross_entropy import between_views
from backbones.pretraining.method import Batch, Given, Method, MethodFamily, Outputs, Progress
from backbones.pretraining.parts.agreement import agreement
from backbones.pretraining.parts.centre import Centre
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.multi_crop import GLOBALS, check_multi_crop, multi_crop
from backbones.pretraining.parts.self_distillation import SelfDistillation
from backbones.pretraining.parts.teacher import Teacher
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC_SMALL
from backbones.training.drop_path import set_drop_path
from backbones.training.recipe import Recipe

LEAST_INFORMATION, SETTLED = 0.02, 100
"""Nats, and the steps until then. Small networks, 9 seeds, 200 steps: a sound training fell to 0.014 in its first ten
steps, was never below 0.044 after twenty and ended at 0.5 to 1.3; without sharpening it was at most 0.013 after 100;
without a centre 0.000 in six seeds (in three it kept a few outputs and 0.46 to 0.77: that is not seen).
"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DINO(SelfDistillation):
    """Any encoder; a vision transformer's vector should be its class token."""

    family: ClassVar[MethodFamily] = "self-distillation"

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for less than two views, or global ones of two sizes."""
        check_multi_crop(self, encoder)
        return _DINO(self, encoder)


class _DINO(Method):
    def __init__(self, settings: DINO, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.head = settings.head(encoder.dim)
        self.teacher, self.teacher_head = Teacher(encoder), Teacher(self.head)
        set_drop_path(self.teacher, 0.0)
        self.centre = Centre(settings.outputs, settings.centre_momentum)

    def represent(self, batch: Batch) -> Outputs:
        """s and t, view by view."""
        globals_ = batch.views[:GLOBALS]
        student = self.head(torch.cat(embedded(self.encoder, batch.views, together=True)))
        teacher = self.teacher_head(torch.cat(embedded(self.teacher, globals_, together=True)))
        return {
            "student": torch.stack(student.chunk(len(batch.views)), dim=1),
            "teacher": torch.stack(teacher.chunk(len(globals_)), dim=1),
        }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """L, by the centre of the step before."""
        return between_views(*self._distributions(outputs, progress)).mean()

    def before_update(self, progress: Progress) -> None:
        """The last layer rests at first."""
        if progress.epoch < self.settings.frozen_epochs:
            self.head.last.weight.grad = None

    def after_update(self, progress: Progress) -> None:
        """f', g' and c follow."""
        momentum = self.settings.momentum_at(progress)
        self.teacher.follow(self.encoder, momentum)
        self.teacher_head.follow(self.head, momentum)
        self.centre.update()

    def published(self) -> Backbone:
        """The teacher's trunk."""
        return cast(Backbone, self.teacher.copy.backbone)

    def watched(self, outputs: Outputs, progress: Progress) -> Outputs:
        """None, so that the encoder's own vectors are: of logits the centre takes away what all images have in common,
        and p_t is nearly even at first in a sound training too (its deviation fell to a tenth in 30 to 100 steps).
        """
        return {}

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Of the two global views: see :func:`agreement`."""
        outputs = self.represent(batch._replace(views=batch.views[:GLOBALS]))
        return agreement(*self._distributions(outputs, batch.progress))

    def least(self, progress: Progress) -> Mapping[str, float]:
        """Of what p_t tells of an image: nothing, whether it is one output for all or even."""
        return {"teacher_information": LEAST_INFORMATION} if progress.step >= SETTLED else {}

    def _distributions(self, outputs: Outputs, progress: Progress) -> tuple[Tensor, Tensor]:
        """p_t and log p_s."""
        cold = self.settings.teacher_temperature_at(progress)
        return self.centre(outputs["teacher"], cold), (outputs["student"] / self.settings.temperature).log_softmax(-1)


METHODS = {"dino": DINO}
PRESETS = {
    "dino": {
        "cifar": Preset(
            settings=DINO(views=ASYMMETRIC_SMALL, outputs=4096, momentum=0.9995),
            recipe=Recipe(
                epochs=1000,
                global_batch=256,
                optimiser="lars",
                learning_rate=0.3,
                weight_decay=1e-6,
                trust_coefficient=0.02,
                trust_clip=True,
                warmup_epochs=10,
            ),
            architecture="small_stem:resnet18",
            size=32,
            source="solo-learn's settings for CIFAR; 89.5 linear there; not run here at this length",
        ),
        "cifar-vit": Preset(
            settings=DINO(views=ASYMMETRIC_SMALL, outputs=4096),
            recipe=Recipe(
                epochs=200,
                global_batch=256,
                learning_rate=5e-4,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=10,
                clip_norm=3.0,
            ),
            architecture="timm:vit_tiny_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32},
            size=32,
            source="the paper's optimiser for a small transformer, without local views; not run here at this length",
        ),
        "imagenet": Preset(
            settings=DINO(views=multi_crop(boundary=0.4, local_views=8)),
            recipe=Recipe(
                epochs=300,
                global_batch=1024,
                learning_rate=2e-3,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                clip_norm=3.0,
            ),
            architecture="timm:vit_small_patch16_224",
            kwargs={"drop_path_rate": 0.1},
            size=224,
            source="the paper's: AdamW at 5e-4 * batch / 256, 73.3 kNN and 76.1 linear there; not run here",
        ),
    }
}
