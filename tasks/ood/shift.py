"""A linear probe trained on one domain and tested on others."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.competing import Competition, compete
from tasks.classification.linear import ProbeSettings, train_probe, val_top1
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.report import report
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, evaluated_on, evaluation_part, partition
from tasks.datasets.sources import some
from tasks.datasets.targets import target_refusal
from tasks.features import features_of
from tasks.ood.groups import by_group, f1
from tasks.ood.several_sets import SeveralSets, items_of, top1
from tasks.readouts import ChosenReading

HOME = "in-distribution"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Shift(ChosenReading, ProbeSettings, Task):
    """The probe of ``classification.linear`` learnt on ``train``, tested at home and on each ``test`` dataset.

    Classes are matched by name; only those a test set shares with train are tested there, and only they compete, at
    home as abroad, wherever the two are compared. A class that is any of several of train's (ObjectNet's) has the score
    of the best. For each test set (``split`` is its name), beside the probe's scores:

    - id_top1: top1 on train's own test images of the shared classes;
    - drop: id_top1 minus top1;
    - effective_robustness: logit(top1) - logit(id_top1), which is 0 on the line y = x of logit-scaled accuracies, with
      accuracies kept half an image away from 0 and 1. Robustness beyond what accuracy predicts (Taori et al. 2020)
      takes a trend fitted over many backbones, for which top1 and id_top1 are the points (``results.trend``);
    - worst_group and mean_per_group, where the set names groups of ten images or more (WILDS): top1 of the worst of
      them, and their mean; and macro_f1, the mean F1 of its classes.

    ``ood_top1`` is the mean top1 over the test sets, each weighing the same. Nothing is chosen on any of them: val is
    train's own.
    """

    name: ClassVar[str] = "ood.shift"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "ood_top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"train": "one", "test": "many"}

    def uses_seed(self, data: Data) -> bool:
        """Only where the seed decides which images of train are val."""
        return is_seeded(data["train"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A train set nothing can be learnt from, or a test set that shares fewer than two classes with it."""
        if why := self.unreadable(backbone):
            return why
        train = data["train"][0]
        if why := learning_refusal(train):
            return why
        names = [test.name for test in data["test"]]
        if not names or len(set(names)) < len(names) or HOME in names:
            return (
                f"the test datasets must be one or more and differ from one another; got {', '.join(names) or 'none'}"
            )
        for test in data["test"]:
            if why := _foreign(train, test):
                return why
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Train at home, test at home, test abroad."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        train = data["train"][0]
        parts = partition(train, seed)
        yield from partition_notes(parts)
        extract, notes = self.chosen(backbone, tools.extract, lambda at: val_top1(self, backbone, parts, at))
        yield from notes
        probe, notes = train_probe(self, backbone, train, extract, seed)
        yield from notes
        home = probe.logits(features_of(backbone, parts.test, extract))
        yield from report(home, parts.test.labels, parts.test.names, HOME)
        sets = SeveralSets()
        for test in data["test"]:
            competition = compete(test.classes, train.classes, mask=True)
            at_home = _asked(competition, home, parts.test, competition.of_output)
            part = evaluation_part(test)
            abroad = _asked(competition, probe.logits(features_of(backbone, part, extract)), part, competition.of_class)
            answers = list(_tested(abroad, test, competition, len(train.classes), part))
            yield from answers
            yield from _compared(top1(answers), top1(report(at_home.scores, at_home.labels, at_home.names)), test.name)
            if abroad.groups is not None:
                yield from by_group(items_of(top1(answers)), abroad.groups, test.name)
                yield f1(abroad.labels, abroad.scores.argmax(1), test.name)
            sets.add(test.name, answers)
        yield from sets.mean()


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The images of the classes that compete: their scores, labels (competitors), names and groups."""

    scores: np.ndarray
    labels: Int64[np.ndarray, " n"]
    names: list[str]
    groups: list[str] | None


def _asked(competition: Competition, logits: np.ndarray, part: Part, competitor_of: Int64[np.ndarray, " k"]) -> _Asked:
    """``competitor_of`` says of each of the part's labels which competitor it is, or -1."""
    labels = competitor_of[part.labels]
    kept = np.flatnonzero(labels >= 0)
    names = [part.names[row] for row in kept.tolist()]
    groups = None if part.groups is None else [part.groups[row] for row in kept.tolist()]
    return _Asked(competition.scores(logits[kept]), labels[kept], names, groups)


def _foreign(train: Dataset, test: Dataset) -> str | None:
    if why := target_refusal(test):
        return why
    try:
        part = evaluation_part(test)
        competition = compete(test.classes, train.classes, mask=True)
    except ValueError as error:
        return str(error)
    asked = set(competition.of_class[part.labels].tolist()) - {-1}
    if len(competition.groups) < 2 or not asked:
        return (
            f"dataset {test.name!r} shares fewer than two classes with {train.name!r}: it has "
            f"{some(test.classes, 12)}; the probe learns {some(train.classes, 12)}"
        )
    at_home = set(competition.of_output[partition(train, 0).test.labels].tolist()) - {-1}
    return None if at_home else f"dataset {train.name!r} has no test images of the classes of {test.name!r}"


def _tested(
    asked: _Asked, test: Dataset, competition: Competition, learnt: int, part: Part
) -> Iterator[Score | Outputs | Note]:
    yield Note(f"test_part:{test.name}", evaluated_on(part))
    if len(competition.groups) < learnt:
        order = np.argsort(competition.of_class, kind="stable")
        yield Note(f"classes:{test.name}", [test.classes[row] for row in order if competition.of_class[row] >= 0])
    if len(asked.labels) < len(part):
        count = len(part) - len(asked.labels)
        yield Note(f"left_out:{test.name}", f"{count} of {len(part)} images are of classes not trained on", True)
    for answer in report(asked.scores, asked.labels, asked.names, test.name):
        if isinstance(answer, Outputs) and asked.groups is not None:
            answer = Outputs({**answer.columns, "group": np.asarray(asked.groups, dtype=object)}, answer.split)
        yield answer


def _compared(abroad: Score, home: Score, split: str) -> Iterator[Score]:
    yield Score("id_top1", home.value, home.per_sample, split)
    yield Score("drop", home.value - abroad.value, None, split, higher_is_better=False, unit="difference")
    yield Score("effective_robustness", _logit(abroad) - _logit(home), None, split, unit="logits")


def _logit(score: Score) -> float:
    half = 0.5 / len(items_of(score))
    share = min(max(score.value, half), 1 - half)
    return float(np.log(share / (1 - share)))


TASKS = {"ood.shift": Shift}
