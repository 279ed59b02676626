"""Mean Teacher (Tarvainen and Valpola 2017, arXiv 1703.01780): answers as its own average over steps does.

    theta'_t = a_t theta'_(t-1) + (1 - a_t) theta_t,  a_t = min(1 - 1/t, a), t the steps done (from 1)
    L = CE(f(x), y) + w(t) mean over images and classes of (softmax f(u_1) - softmax f'(u_2))^2, no gradient to f'
    w(t) = weight exp(-5 (1 - s)^2), s the share of the ramp-up that is done, at most 1

u_1, u_2 are two views of an image; a is one value in the ramp-up and another after it. The teacher is what is tested.
Deviations: images with labels have their part in the consistency as images of the pool, not once more as labelled ones;
the ramp-up is a share of the training; the teacher has its own BatchNorm statistics. The authors' code weighs by 100
times the share of labelled images on CIFAR-10 (8 at 4,000 of 50,000), which is the default here whatever that share is.
"""

import math

from jaxtyping import Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from backbones.pretraining.method import Progress
from backbones.pretraining.parts.teacher import Teacher
from tasks.classification.semi_supervised.consistency import consistency
from tasks.classification.semi_supervised.method import Batch, Method, MethodSettings, Wanted
from tasks.classification.semi_supervised.perturbation import Perturbation


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MeanTeacher(MethodSettings):
    """``ramp_up`` is a share of the training's steps; ``early_decay`` holds in it, ``decay`` after it."""

    varied: Perturbation = Perturbation(shift=0.125, flip=0.5)
    weight: float = Field(default=8.0, ge=0)
    ramp_up: float = Field(default=0.25, ge=0, le=1)
    early_decay: float = Field(default=0.99, ge=0, lt=1)
    decay: float = Field(default=0.999, ge=0, lt=1)
    ratio: int = Field(default=1, ge=1)

    def wanted(self) -> Wanted:
        """Two views of the unlabelled."""
        return Wanted(self.varied, (self.varied, self.varied), self.ratio)

    def build(self, network: nn.Module) -> Method:
        """With a teacher that begins as the network."""
        return _MeanTeacher(self, network)

    def weight_at(self, progress: Progress) -> float:
        """w(t) of the step under way."""
        return self.weight * math.exp(-5 * (1 - self._ramped(progress)) ** 2)

    def decay_at(self, progress: Progress) -> float:
        """a_t after the step that was under way."""
        most = self.decay if self._ramped(progress) == 1 else self.early_decay
        return min(1 - 1 / (progress.step + 1), most)

    def _ramped(self, progress: Progress) -> float:
        return min(progress.step / (self.ramp_up * progress.total), 1.0) if self.ramp_up else 1.0


class _MeanTeacher(Method):
    def __init__(self, settings: MeanTeacher, network: nn.Module) -> None:
        super().__init__(network)
        self.settings = settings
        self.teacher = Teacher(network)

    def loss(self, batch: Batch) -> Float32[Tensor, ""]:
        """The student's images in one pass, the teacher's in another."""
        mine, theirs = batch.unlabelled
        of_labelled, answered = self.logits(batch.labelled, mine)
        (taught,) = self.logits(theirs, by=self.teacher)
        weight = self.settings.weight_at(batch.progress)
        return cross_entropy(of_labelled, batch.labels) + weight * consistency(answered, taught)

    def after_update(self, progress: Progress) -> None:
        """The teacher follows."""
        self.teacher.follow(self.network, self.settings.decay_at(progress))

    @property
    def judged(self) -> nn.Module:
        """The teacher."""
        return self.teacher


METHODS = {"mean_teacher": MeanTeacher}
