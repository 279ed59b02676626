"""What DINO, iBOT and DINOv2 have in common: settings, and their schedules."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.pretraining.method import MethodSettings, Progress
from backbones.pretraining.parts.dino_head import DinoHead
from backbones.pretraining.parts.multi_crop import multi_crop
from backbones.pretraining.parts.schedules import cosine, linear
from backbones.pretraining.views.settings import ViewGroup


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SelfDistillation(MethodSettings):
    """``views``: the first two are global, seen by teacher and student; others are local, seen by the student.

    ``outputs``, ``hidden``, ``bottleneck``: of heads, of which the last layer rests for ``frozen_epochs``.
    ``temperature`` is the student's; the teacher's rises by a line from ``teacher_temperature[0]`` to ``[1]`` in
    ``temperature_epochs``. ``momentum`` is the teacher's, rising to 1 along half a cosine, ``centre_momentum`` its
    centre's; 1 leaves the centre at 0.
    """

    views: tuple[ViewGroup, ...] = multi_crop(boundary=0.4, local_views=8)
    outputs: int = Field(default=65536, ge=2)
    hidden: int = Field(default=2048, ge=1)
    bottleneck: int = Field(default=256, ge=1)
    frozen_epochs: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=0.1, gt=0)
    teacher_temperature: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.04, 0.07)
    temperature_epochs: float = Field(default=30.0, ge=0)
    momentum: float = Field(default=0.996, ge=0, le=1)
    centre_momentum: float = Field(default=0.9, ge=0, le=1)

    def head(self, inside: int) -> DinoHead:
        """For vectors of ``inside`` numbers."""
        return DinoHead(inside, self.outputs, self.hidden, self.bottleneck)

    def teacher_temperature_at(self, progress: Progress) -> float:
        """Of a step, by the epochs that are done."""
        done = progress.epoch / self.temperature_epochs if self.temperature_epochs else 1.0
        return linear(*self.teacher_temperature, done)

    def momentum_at(self, progress: Progress) -> float:
        """Of a step."""
        return cosine(self.momentum, 1.0, progress.share)
