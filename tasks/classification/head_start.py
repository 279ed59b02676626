"""Where the head of a fine-tuning starts: at a probe of the frozen features, at zero, or drawn."""

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from backbones.base import Backbone
from tasks.base import Extract
from tasks.classification.linear import ProbeSettings
from tasks.classification.probe import Features, Labels, Probe, choose, fit
from tasks.datasets.partition import Partition
from tasks.features import features_of

HeadStart = Literal["probe", "zeros", "xavier"]
"""``probe`` is LP-FT (Kumar et al. 2022): the first gradients of a random head distort the features it then reads."""


class ProbeHead:
    """A linear probe written as the weights of a linear layer. Its strength is chosen on val, once."""

    def __init__(self, backbone: Backbone, parts: Partition, classes: int, extract: Extract) -> None:
        self.classes, self.settings = classes, ProbeSettings(strengths=8)
        self.train = features_of(backbone, parts.train, extract), parts.train.labels
        self.val = features_of(backbone, parts.val, extract), parts.val.labels
        self.strength = choose(self.train, self.val, classes, self.settings.grid(), self.settings.tolerance).strength

    @cached_property
    def of_train(self) -> tuple[Tensor, Tensor]:
        """(classes, dim) and (classes), fitted to train alone."""
        return self._fitted(*self.train)

    @cached_property
    def of_both(self) -> tuple[Tensor, Tensor]:
        """The same, fitted to train and val."""
        features, labels = zip(self.train, self.val, strict=True)
        return self._fitted(np.concatenate(features), np.concatenate(labels))

    def _fitted(self, features: Features, labels: Labels) -> tuple[Tensor, Tensor]:
        return layer_of(fit(features, labels, self.classes, self.strength, self.settings.tolerance))


def layer_of(probe: Probe) -> tuple[Tensor, Tensor]:
    """Weight (classes, dim) and bias (classes) of the linear layer that a probe is, scaling and all."""
    mean, factor = torch.from_numpy(probe.scaling.mean), torch.from_numpy(probe.scaling.factor)
    weight = probe.solution.weights[0] * factor
    return weight, probe.solution.intercepts[0] - weight @ mean


def start_head(head: nn.Linear, start: tuple[Tensor, Tensor] | Literal["zeros", "xavier"], seed: int) -> None:
    """These weights, zeros (as the head is made), or drawn from the seed."""
    if start == "xavier":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            draw(head)
    elif start != "zeros":
        with torch.no_grad():
            head.weight.copy_(start[0])
            head.bias.copy_(start[1])


def draw(head: nn.Linear) -> None:
    """Xavier-normal, as timm 0.6 resets a classifier, from torch's generator."""
    nn.init.xavier_normal_(head.weight)
