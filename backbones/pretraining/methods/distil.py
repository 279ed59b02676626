"""Distillation: any backbone of the catalogue teaches another its vectors and its maps, without labels.

    t = teacher(view),  T its map;  s = W student(view),  S = V map of the student, W and V linear (V of 1 x 1 pixels)
    L = summary * (1 - cos(s, t)) + dense * mean over places of [0.9 (1 - cos(S, T)) + 0.1 smoothL1(S, T)]

The two terms are those of AM-RADIO (Ranzinger et al. 2024, arXiv 2312.06709) for one teacher: the summary is what a
backbone's ``embed`` gives, the class token where that is its vector. The larger of the two maps is averaged down to the
other's size. The teacher sees the student's view at its own size with its own normalisation.

Deviations: AM-RADIO has several teachers, their high resolution tricks and MLPs as adaptors; here one, linear, so that
the student's own space is near the teacher's. Each teacher's values are divided by their standard deviation in a batch
for the smooth L1, so that its unit is no matter.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, interpolate, smooth_l1_loss

from backbones.base import Backbone, Preprocess, freeze
from backbones.catalogue import load
from backbones.pretraining.encoder import Encoder, measure
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
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import CROP_AND_FLIP, ViewGroup
from backbones.training.recipe import Recipe

COSINE, SMOOTH = 0.9, 0.1
"""AM-RADIO's shares of the two parts of the dense term."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Distil(MethodSettings):
    """``teacher`` is a backbone's name; ``summary`` and ``dense`` weigh the terms (0 leaves one out)."""

    family: ClassVar[MethodFamily] = "distillation"

    views: tuple[ViewGroup, ...] = CROP_AND_FLIP
    teacher: str = "timm:vit_small_patch14_dinov2.lvd142m"
    summary: float = Field(default=1.0, ge=0)
    dense: float = Field(default=0.0, ge=0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than one view, no term, or a dense term where one has no maps."""
        check_views(self, 1)
        if self.summary == 0 == self.dense:
            raise ValueError("Distil has nothing to learn: summary and dense are both 0")
        return _Distil(self, encoder, load(self.teacher, given.places))


class _Distil(Method):
    def __init__(self, settings: Distil, encoder: Encoder, teacher: Backbone) -> None:
        super().__init__(encoder)
        self.settings = settings
        self._teacher = (freeze(teacher),)  # in a tuple: no part of every checkpoint
        dim, map_dim, _ = measure(teacher)
        self.summary = nn.Linear(encoder.dim, dim) if settings.summary else None
        self.dense: nn.Module | None = None
        if settings.dense:
            if encoder.map_dim is None or map_dim is None:
                lacking = (encoder.backbone if encoder.map_dim is None else teacher).card.name
                raise ValueError(f"Distil: the dense term needs maps, and {lacking} has none; set dense to 0")
            self.dense = nn.Conv2d(encoder.map_dim, map_dim, 1)

    def represent(self, batch: Batch) -> Outputs:
        """What the student says of the teacher's vectors and maps, and what those are."""
        (view,) = batch.views
        (teacher,) = self._teacher
        teacher.to(view.images.device)
        with torch.no_grad():
            shown = as_seen_by(view.images, self.encoder.backbone.preprocess, teacher.preprocess)
        found: dict[str, Tensor] = {}
        if self.summary is not None:
            with torch.no_grad():
                found["teacher"] = teacher.embed(shown)
            found["student"] = self.summary(self.encoder(view.images))
        if self.dense is not None:
            with torch.no_grad():
                found["teacher_map"] = _coarsest(teacher, shown)
            found["student_map"] = self.dense(self.encoder.last_map(view.images))
        return found

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The weighted terms."""
        terms = []
        if "student" in outputs:
            terms.append(self.settings.summary * summary_loss(outputs["student"], outputs["teacher"]))
        if "student_map" in outputs:
            terms.append(self.settings.dense * dense_loss(outputs["student_map"], outputs["teacher_map"]))
        return torch.stack(terms).sum()

    def facts(self) -> dict[str, str]:
        """Which weights taught."""
        return {"teacher_sha256": self._teacher[0].card.weights_sha256}


def summary_loss(student: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """1 - cos, the mean over the batch."""
    return 1 - cosine_similarity(student, teacher, dim=1).mean()


def dense_loss(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels rows columns"]
) -> Float[Tensor, ""]:
    """The mean over places of the smaller of the two maps, to which the larger is averaged."""
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    student, teacher = adaptive_avg_pool2d(student, size), adaptive_avg_pool2d(teacher, size)
    unit = teacher.std().clamp_min(1e-6)
    return COSINE * (1 - cosine_similarity(student, teacher, dim=1).mean()) + SMOOTH * smooth_l1_loss(
        student / unit, teacher / unit
    )


def as_seen_by(
    images: Float[Tensor, "batch 3 height width"], mine: Preprocess, theirs: Preprocess
) -> Float[Tensor, "batch 3 rows columns"]:
    """A view normalised for one backbone as another wants it: its size, antialiased, its mean and deviation."""
    columns = [torch.tensor(each, device=images.device).view(3, 1, 1) for each in (mine.std, mine.mean)]
    pixels = images * columns[0] + columns[1]
    if pixels.shape[2:] != theirs.size:
        pixels = interpolate(pixels, theirs.size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    mean, std = (torch.tensor(each, device=images.device).view(3, 1, 1) for each in (theirs.mean, theirs.std))
    return (pixels - mean) / std


def _coarsest(backbone: Backbone, images: Tensor) -> Tensor:
    maps = backbone.feature_maps(images)
    return maps[max(maps)]


METHODS = {"distil": Distil}
PRESETS = {
    "distil": {
        "cifar": Preset(
            settings=Distil(views=(ViewGroup(crop_scale=(0.2, 1.0)),)),
            recipe=Recipe(epochs=200, global_batch=256, learning_rate=1e-3, weight_decay=0.02, warmup_epochs=5),
            architecture="small_stem:resnet18",
            size=32,
            source="settings of this house, from no paper; not run here at this length",
        ),
        "imagenet": Preset(
            settings=Distil(views=(ViewGroup(crop_scale=(0.2, 1.0)),), dense=1.0),
            recipe=Recipe(epochs=100, global_batch=1024, learning_rate=1e-3, weight_decay=0.02, warmup_epochs=5),
            architecture="timm:vit_small_patch16_224",
            size=224,
            source="AM-RADIO's loss with AdamW's usual settings; not run here",
        ),
    }
}
