"""A linear probe for images with several labels: one L2-regularised logistic regression a label on frozen features."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.linear import ProbeSettings, strength_notes
from tasks.classification.logistic import Solution, solve
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes, targets_of
from tasks.classification.probe import Features, Scaling, scaling_of
from tasks.classification.target_reports import mean_auc, rankable, report_multilabel
from tasks.datasets.base import Target
from tasks.datasets.partition import Partition, partition
from tasks.features import collapse_notes, features_of
from tasks.readouts import ChosenReading

KINDS: tuple[Target, ...] = ("multilabel",)
Targets = Float32[np.ndarray, "n k"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MultiLabelProbe(ChosenReading, ProbeSettings, Task):
    """mean_auc, mean_average_precision and both of each label, of probes refitted on train and val and tested once.

    All labels share one strength, the best on val by mean AUC; of equals the strongest. Images of which a label is not
    known are left out for that label alone. A label that train knows only as present, or only as absent, is left out.
    """

    name: ClassVar[str] = "classification.multilabel"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mean_auc"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}

    def uses_seed(self, data: Data) -> bool:
        """Only where the seed decides which images are val."""
        return is_seeded(data["dataset"][0], KINDS)

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset of another kind of target, without parts or without a label to learn, or a readout not there."""
        return self.unreadable(backbone) or learning_refusal(data["dataset"][0], KINDS)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose, refit, test."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        yield from partition_notes(parts)
        kept = np.flatnonzero(rankable(targets_of(parts.train)))
        if len(kept) < len(dataset.classes):
            lost = ", ".join(name for label, name in enumerate(dataset.classes) if label not in kept)
            yield Note("labels_not_learnt", f"train knows them only as present or only as absent: {lost}", warning=True)
        extract, notes = self.chosen(backbone, tools.extract, lambda at: max(self._val_aucs(backbone, parts, at, kept)))
        yield from notes
        aucs = self._val_aucs(backbone, parts, extract, kept)
        best = max(range(len(aucs)), key=lambda index: (aucs[index], index))
        yield from strength_notes(self, best, "mean_auc", aucs)
        known = [features_of(backbone, part, extract) for part in (parts.train, parts.val)]
        yield from collapse_notes(known[0], "train")
        targets = np.concatenate([targets_of(part)[:, kept] for part in (parts.train, parts.val)])
        probe = fit(np.concatenate(known), targets, [self.grid()[best]], self.tolerance)
        yield from probe.not_converged()
        outputs = probe.outputs(features_of(backbone, parts.test, extract))[0]
        names = [dataset.classes[label] for label in kept]
        yield from report_multilabel(outputs, targets_of(parts.test)[:, kept], names, parts.test.names)

    def _val_aucs(self, backbone: Backbone, parts: Partition, extract: Extract, kept: np.ndarray) -> list[float]:
        """The mean AUC on val of each strength of the grid, of probes that learnt from train."""
        train, val = (features_of(backbone, part, extract) for part in (parts.train, parts.val))
        probe = fit(train, targets_of(parts.train)[:, kept], self.grid(), self.tolerance)
        return [mean_auc(outputs, targets_of(parts.val)[:, kept]) for outputs in probe.outputs(val)]


@plain_dataclass(frozen=True)
class LabelProbes:
    """A two-class model a label, each at several strengths."""

    scaling: Scaling
    solutions: tuple[Solution, ...]

    def outputs(self, features: Features) -> Float32[np.ndarray, "strengths n k"]:
        """The logit of each label's presence."""
        scaled = self.scaling(features)
        logits = [solution.logits(scaled) for solution in self.solutions]
        return torch.stack([both[..., 1] - both[..., 0] for both in logits], -1).numpy()

    def not_converged(self) -> Iterator[Note]:
        """A warning with the worst gradient entry, where a model stopped above the tolerance."""
        worst = max(float(solution.gradient_norm.max()) for solution in self.solutions)
        if not all(bool(solution.converged.all()) for solution in self.solutions):
            yield Note("not_converged", f"largest gradient entry {worst:.1e} after the last iteration", warning=True)


def fit(features: Features, targets: Targets, strengths: list[float], tolerance: float) -> LabelProbes:
    """A model of each label from the images where it is known: mean loss plus strength/2 times the squared weights."""
    scaling = scaling_of(features)
    scaled = scaling(features)
    # Two classes share the penalty on the difference of their weights: l/4 ||w||^2 for it, so l is given twice over.
    doubled = 2 * torch.tensor(strengths)
    solutions = []
    for target in targets.T:
        rows = np.flatnonzero(np.isfinite(target))
        solutions.append(solve(scaled[rows], torch.from_numpy(target[rows]).long(), 2, doubled, tolerance))
    return LabelProbes(scaling, tuple(solutions))


TASKS = {"classification.multilabel": MultiLabelProbe}
