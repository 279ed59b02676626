"""A linear probe: L2-regularised logistic regression on frozen features, its strength chosen on val."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.probe import Features, Labels, Probe, choose, fit
from tasks.classification.report import report
from tasks.classification.target_reports import ordinal_scores
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Partition, partition
from tasks.features import collapse_notes, features_of
from tasks.readouts import ChosenReading


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ProbeSettings:
    """How a probe is fitted. The grid is ``strengths`` values, equally spaced in their logarithm, both ends included.

    A strength l weighs mean loss against l/2 ||W||^2 (scikit-learn's C is 1 / (l n)); features are z-scored first.
    ``tolerance`` bounds the largest entry of the gradient. The grid's ends are a choice, not a finding: the weakest was
    set at 1e-4 after an earlier solver had not converged at 1e-5 on synthetic features, where this one does, and where
    top-1 still rises from 1e-4 to 1e-5. A best strength at an end is noted in the record, to be rerun on a wider grid.
    """

    strengths: int = Field(default=20, ge=1, le=200)
    weakest: float = Field(default=1e-4, gt=0)
    strongest: float = Field(default=10.0, gt=0)
    tolerance: float = Field(default=1e-5, gt=0, le=1e-2)

    @model_validator(mode="after")
    def _ordered(self) -> "ProbeSettings":
        if self.weakest > self.strongest:
            raise ValueError(f"weakest ({self.weakest}) is above strongest ({self.strongest})")
        return self

    def grid(self) -> list[float]:
        """The strengths, weakest first."""
        return [float(value) for value in np.geomspace(self.weakest, self.strongest, self.strengths)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LinearProbe(ChosenReading, ProbeSettings, Task):
    """top1, top5, mean_per_class, nll, ece of a probe chosen on val by top-1, refitted on train and val, tested once.

    Equal top-1 is decided by the lower val loss, then by the stronger regularisation. Classes whose order is meant are
    learnt and chosen without it; quadratic_kappa and mae (in classes) then say how far off the answers are.
    """

    name: ClassVar[str] = "classification.linear"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}

    def uses_seed(self, data: Data) -> bool:
        """Only where the seed decides which images are val."""
        return is_seeded(data["dataset"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset without parts or of a single class, or a readout the backbone does not have."""
        return self.unreadable(backbone) or learning_refusal(data["dataset"][0])

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose, refit, test."""
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        yield from partition_notes(parts)
        extract, notes = self.chosen(backbone, tools.extract, lambda at: val_top1(self, backbone, parts, at))
        yield from notes
        probe, notes = train_probe(self, backbone, dataset, extract, seed)
        yield from notes
        logits = probe.logits(features_of(backbone, parts.test, extract))
        yield from report(logits, parts.test.labels, parts.test.names)
        if dataset.target == "ordinal":
            yield from ordinal_scores(logits.argmax(1), parts.test.labels)


def val_top1(settings: ProbeSettings, backbone: Backbone, parts: Partition, extract: Extract) -> float:
    """The best top-1 on val over the grid of strengths, of probes that learnt from train."""
    train, val = ((features_of(backbone, part, extract), part.labels) for part in (parts.train, parts.val))
    classes = 1 + int(max(train[1].max(), val[1].max()))
    return max(choose(train, val, classes, settings.grid(), settings.tolerance).accuracy)


def train_probe(
    settings: ProbeSettings, backbone: Backbone, dataset: Dataset, extract: Extract, seed: int
) -> tuple[Probe, list[Note]]:
    """A probe over the dataset's classes that has seen its train and val parts, and what the record must say of it."""
    if why := learning_refusal(dataset):
        raise ValueError(why)
    parts = partition(dataset, seed)
    train = features_of(backbone, parts.train, extract), parts.train.labels
    val = features_of(backbone, parts.val, extract), parts.val.labels
    return chosen_probe(settings, train, val, len(dataset.classes))


def chosen_probe(
    settings: ProbeSettings,
    train: tuple[Features, Labels],
    val: tuple[Float32[np.ndarray, "m dim"], Int64[np.ndarray, " m"]],
    classes: int,
    refit: bool = True,
) -> tuple[Probe, list[Note]]:
    """A probe of the strength that is best on val, and what the record must say of it.

    It has seen train and val; without ``refit`` train alone.
    """
    choice = choose(train, val, classes, settings.grid(), settings.tolerance)
    features, labels = train
    if refit:
        features, labels = np.concatenate([train[0], val[0]]), np.concatenate([train[1], val[1]])
    chosen = settings.grid().index(choice.strength)
    notes = [*collapse_notes(train[0], "train"), *strength_notes(settings, chosen, "top1", choice.accuracy)]
    probe = fit(features, labels, classes, choice.strength, settings.tolerance, choice.start)
    if not bool(probe.solution.converged.all()):
        reached = float(probe.solution.gradient_norm[0])
        notes.append(Note("not_converged", f"largest gradient entry {reached:.1e} after the last iteration", True))
    return probe, notes


def strength_notes(settings: ProbeSettings, best: int, metric: str, on_val: Sequence[float]) -> Iterator[Note]:
    """Which strength of the grid was chosen, by which numbers, and a warning where the grid may be too narrow."""
    grid = settings.grid()
    yield Note("strength", grid[best])
    yield Note(f"val_{metric}", dict(zip([f"{value:.3g}" for value in grid], on_val, strict=True)))
    if len(grid) > 1 and best in (0, len(grid) - 1):
        yield Note("strength_at_edge", f"the best strength, {grid[best]:.3g}, is at the edge of the grid", True)


TASKS = {"classification.linear": LinearProbe}
