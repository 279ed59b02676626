"""FixMatch (Sohn et al. 2020, arXiv 2001.07685): what is sure of a weakly varied image is learnt of it strongly varied.

    q = softmax f(weak(u)), without gradient;  q^ = argmax q
    L = CE(f(weak(x)), y) + lambda_u mean over all u of 1[max q >= tau] CE(f(strong(u)), q^)

Deviations: strong is timm's RandAugment (two operations, their magnitudes uniform) after a slight random crop and a
flip, and then a rectangle of noise in place of Cutout's grey square. The paper's average of the weights (.999) is the
recipe's ``average_decay``; its cosine of 7/16 of a period is the loop's half cosine.
"""

import torch
from jaxtyping import Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from backbones.training.augmentation import Augmentation
from tasks.classification.semi_supervised.method import Batch, Method, MethodSettings, Wanted
from tasks.classification.semi_supervised.perturbation import Perturbation


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FixMatch(MethodSettings):
    """``ratio`` is the paper's mu, ``threshold`` its tau, ``weight`` its lambda_u."""

    weak: Perturbation = Perturbation(shift=0.125, flip=0.5)
    strong: Augmentation = Augmentation(
        crop_scale=(0.75, 1.0), crop_ratio=(0.9, 1.1), rand_augment="rand-m10-n2-mstd101-inc1", erasing=1.0
    )
    threshold: float = Field(default=0.95, ge=0, le=1)
    weight: float = Field(default=1.0, ge=0)
    ratio: int = Field(default=7, ge=1)

    def wanted(self) -> Wanted:
        """Unlabelled images weakly and strongly varied."""
        return Wanted(self.weak, (self.weak, self.strong), self.ratio)

    def build(self, network: nn.Module) -> Method:
        """Without state."""
        return _FixMatch(self, network)


class _FixMatch(Method):
    def __init__(self, settings: FixMatch, network: nn.Module) -> None:
        super().__init__(network)
        self.settings = settings

    def loss(self, batch: Batch) -> Float32[Tensor, ""]:
        """Labelled and strongly varied images in one pass, weakly varied ones in another, which keeps nothing."""
        weak, strong = batch.unlabelled
        with torch.no_grad():
            (guessed,) = self.logits(weak)
        of_labelled, of_strong = self.logits(batch.labelled, strong)
        surely = sure_cross_entropy(guessed, of_strong, self.settings.threshold)
        return cross_entropy(of_labelled, batch.labels) + self.settings.weight * surely


def sure_cross_entropy(
    guessed: Float32[Tensor, "images classes"], answered: Float32[Tensor, "images classes"], threshold: float
) -> Float32[Tensor, ""]:
    """mean of 1[max softmax(guessed) >= threshold] CE(answered, argmax guessed); no gradient to ``guessed``."""
    confidence, label = guessed.detach().softmax(1).max(1)
    losses = cross_entropy(answered, label, reduction="none")
    return (losses * (confidence >= threshold)).mean()


METHODS = {"fixmatch": FixMatch}
