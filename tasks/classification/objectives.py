"""What is learnt and how it is judged, one class for each kind of target: outputs, loss, choice on val, report.

A loss is a mean over items, each weighing the same whatever is known of it, so that the mean over a batch is that over
its parts weighted by their sizes: however a global batch is divided, the gradient is the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, one_hot

from tasks.base import Note, Outputs, Score
from tasks.classification.metrics import top_k_correct
from tasks.classification.parts import targets_of
from tasks.classification.report import report
from tasks.classification.target_reports import (
    agreement,
    mean_auc,
    nearest_class,
    report_multilabel,
    report_ordinal,
    report_value,
)
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part

Numbers = Float32[np.ndarray, "n outputs"]


class Objective(ABC):
    """``headline`` is the metric of ``merit``, by which val chooses: the higher the better."""

    headline: str

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers a head gives for an image."""

    @abstractmethod
    def wanted(self, part: Part) -> Shaped[Tensor, "n ..."]:
        """What is known of each image, in few bytes; rows of it are what ``soft`` takes."""

    @abstractmethod
    def soft(self, wanted: Shaped[Tensor, "batch ..."]) -> Float32[Tensor, "batch outputs"]:
        """As the loss compares it. Two rows may be mixed in any proportion: what either leaves unknown stays so."""

    @abstractmethod
    def loss(
        self, outputs: Float[Tensor, "batch outputs"], soft: Float32[Tensor, "batch outputs"]
    ) -> Float32[Tensor, ""]:
        """Mean over the items, in float32."""

    @abstractmethod
    def merit(self, outputs: Numbers, part: Part) -> float:
        """The headline metric of a head's outputs; chance where the part leaves it undefined."""

    @abstractmethod
    def report(self, outputs: Numbers, part: Part, split: str = "test") -> Iterator[Score | Outputs | Note]:
        """Every metric, and every item's own outcome."""


def objective_of(dataset: Dataset, train: Part, smoothing: float = 0.0) -> Objective:
    """The objective of a dataset's kind of target. Numbers are standardised by what ``train`` holds of them.

    ``smoothing`` is label smoothing, which is defined for classes without an order and has no part in the others.
    """
    if dataset.target == "class":
        return OneClass(len(dataset.classes), smoothing)
    if dataset.target == "ordinal":
        return Ordinal(len(dataset.classes), _value(train.labels))
    if dataset.target == "multilabel":
        return MultiLabel(dataset.classes)
    return _value(targets_of(train))


@dataclass(frozen=True)
class OneClass(Objective):
    """Softmax cross-entropy with soft targets: (1 - smoothing) for the class and smoothing spread over all."""

    classes: int
    smoothing: float = 0.0
    headline = "top1"

    @property
    def outputs(self) -> int:
        """One a class."""
        return self.classes

    def wanted(self, part: Part) -> Int64[Tensor, " n"]:
        """Class numbers."""
        return torch.from_numpy(part.labels)

    def soft(self, wanted: Int64[Tensor, " batch"]) -> Float32[Tensor, "batch outputs"]:
        """Probabilities of the classes."""
        return (1 - self.smoothing) * one_hot(wanted, self.classes).float() + self.smoothing / self.classes

    def loss(
        self, outputs: Float[Tensor, "batch outputs"], soft: Float32[Tensor, "batch outputs"]
    ) -> Float32[Tensor, ""]:
        """-sum_c soft_c log softmax(outputs)_c."""
        return -(soft * log_softmax(outputs.float(), 1)).sum(1).mean()

    def merit(self, outputs: Numbers, part: Part) -> float:
        """Top-1, ties shared."""
        return float(top_k_correct(outputs, part.labels, 1).mean())

    def report(self, outputs: Numbers, part: Part, split: str = "test") -> Iterator[Score | Outputs | Note]:
        """Outputs are logits."""
        return report(outputs, part.labels, part.names, split)


@dataclass(frozen=True)
class MultiLabel(Objective):
    """A sigmoid cross-entropy a label; unknown labels add nothing, and do not make the known ones weigh more."""

    classes: tuple[str, ...]
    headline = "mean_auc"

    @property
    def outputs(self) -> int:
        """One a label."""
        return len(self.classes)

    def wanted(self, part: Part) -> Float32[Tensor, "n outputs"]:
        """0, 1, or NaN."""
        return torch.from_numpy(targets_of(part))

    def soft(self, wanted: Float32[Tensor, "batch outputs"]) -> Float32[Tensor, "batch outputs"]:
        """The same: NaN mixed with anything is NaN."""
        return wanted

    def loss(
        self, outputs: Float[Tensor, "batch outputs"], soft: Float32[Tensor, "batch outputs"]
    ) -> Float32[Tensor, ""]:
        """Over all labels and items, of which the unknown count as 0."""
        known = ~soft.isnan()
        losses = binary_cross_entropy_with_logits(outputs.float(), soft.nan_to_num(), reduction="none")
        return (losses * known).mean()

    def merit(self, outputs: Numbers, part: Part) -> float:
        """Mean AUC over the labels that have one."""
        return mean_auc(outputs, targets_of(part))

    def report(self, outputs: Numbers, part: Part, split: str = "test") -> Iterator[Score | Outputs | Note]:
        """Outputs are logits."""
        return report_multilabel(outputs, targets_of(part), self.classes, part.names, split)


@dataclass(frozen=True)
class Value(Objective):
    """Squared error of one output that stands for (value - centre) / scale."""

    centre: float
    scale: float
    headline = "concordance"

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def wanted(self, part: Part) -> Float32[Tensor, "n 1"]:
        """The values."""
        return torch.from_numpy(targets_of(part))

    def soft(self, wanted: Float32[Tensor, "batch 1"]) -> Float32[Tensor, "batch outputs"]:
        """Standardised."""
        return (wanted - self.centre) / self.scale

    def loss(
        self, outputs: Float[Tensor, "batch outputs"], soft: Float32[Tensor, "batch outputs"]
    ) -> Float32[Tensor, ""]:
        """In squared scales."""
        return (outputs.float() - soft).square().mean()

    def values(self, outputs: Numbers) -> Float[np.ndarray, " n"]:
        """Outputs in the value's own unit."""
        return outputs[:, 0].astype(np.float64) * self.scale + self.centre

    def merit(self, outputs: Numbers, part: Part) -> float:
        """Concordance."""
        return agreement(targets_of(part)[:, 0].astype(np.float64), self.values(outputs))

    def report(self, outputs: Numbers, part: Part, split: str = "test") -> Iterator[Score | Outputs | Note]:
        """In the value's own unit."""
        return report_value(self.values(outputs), targets_of(part)[:, 0], part.names, split)


@dataclass(frozen=True)
class Ordinal(Objective):
    """Regression on the class number; the nearest class is the answer."""

    classes: int
    number: Value
    headline = "quadratic_kappa"

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def wanted(self, part: Part) -> Int64[Tensor, " n"]:
        """Class numbers."""
        return torch.from_numpy(part.labels)

    def soft(self, wanted: Int64[Tensor, " batch"]) -> Float32[Tensor, "batch outputs"]:
        """Standardised class numbers."""
        return self.number.soft(wanted[:, None].float())

    def loss(
        self, outputs: Float[Tensor, "batch outputs"], soft: Float32[Tensor, "batch outputs"]
    ) -> Float32[Tensor, ""]:
        """In squared scales."""
        return self.number.loss(outputs, soft)

    def merit(self, outputs: Numbers, part: Part) -> float:
        """Quadratic kappa."""
        return agreement(part.labels, nearest_class(self.number.values(outputs), self.classes))

    def report(self, outputs: Numbers, part: Part, split: str = "test") -> Iterator[Score | Outputs | Note]:
        """On the scale of class numbers."""
        return report_ordinal(self.number.values(outputs), part.labels, self.classes, part.names, split)


def _value(numbers: np.ndarray) -> Value:
    spread = float(numbers.std(dtype=np.float64))
    return Value(float(numbers.mean(dtype=np.float64)), spread or 1.0)
