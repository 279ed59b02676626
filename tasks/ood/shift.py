"""A linear probe trained on one domain and tested on others."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.linear import ProbeSettings, train_probe, val_top1
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.probe import Probe
from tasks.classification.report import report
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, evaluated_on, evaluation_part, partition
from tasks.datasets.targets import target_refusal
from tasks.features import features_of
from tasks.readouts import ChosenReading

HOME = "in-distribution"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Shift(ChosenReading, ProbeSettings, Task):
    """The probe of ``classification.linear`` learnt on ``train``, tested at home and on each ``test`` dataset.

    Classes are matched by name; only those a test set shares with train are tested there, and only they compete, at
    home as abroad, wherever the two are compared. For each test set (``split`` is its name), beside the probe's scores:

    - id_top1: top1 on train's own test images of the shared classes;
    - drop: id_top1 minus top1;
    - effective_robustness: logit(top1) - logit(id_top1), which is 0 on the line y = x of logit-scaled accuracies, with
      accuracies kept half an image away from 0 and 1. Robustness beyond what accuracy predicts (Taori et al. 2020)
      takes a trend fitted over many backbones, for which top1 and id_top1 are the points.

    ``ood_top1`` is the mean top1 over the test sets, each weighing the same.
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
        abroad, items = [], list[str]()
        for test in data["test"]:
            shared = [label for label, name in enumerate(train.classes) if name in test.classes]
            at_home = _top1(report(*_masked(home, parts.test, train, train, shared), HOME))
            answers = list(_tested(probe, backbone, test, train, shared, extract))
            yield from answers
            yield from _compared(_top1(answers), at_home, test.name)
            abroad.append(_correct(answers))
            items += [f"{test.name}/{item}" for item in _names(answers)]
        yield _mean_over_sets(abroad)
        yield Outputs({"item": np.asarray(items, dtype=object)})  # whose the score's items are, set by set


def _foreign(train: Dataset, test: Dataset) -> str | None:
    if why := target_refusal(test):
        return why
    try:
        part = evaluation_part(test)
    except ValueError as error:
        return str(error)
    shared = set(train.classes) & set(test.classes)
    asked = {test.classes[label] for label in np.unique(part.labels)} & shared
    if len(shared) < 2 or not asked:
        return (
            f"dataset {test.name!r} shares fewer than two classes with {train.name!r}: it has "
            f"{', '.join(test.classes)}; the probe learns {', '.join(train.classes)}"
        )
    at_home = {train.classes[label] for label in np.unique(partition(train, 0).test.labels)}
    return None if shared & at_home else f"dataset {train.name!r} has no test images of the classes of {test.name!r}"


def _masked(
    logits: np.ndarray, part: Part, dataset: Dataset, train: Dataset, shared: list[int]
) -> tuple[np.ndarray, Int64[np.ndarray, " n"], list[str]]:
    """The images and outputs of the shared classes (labels of ``train``), their new labels, and the images' names."""
    place = {train.classes[label]: column for column, label in enumerate(shared)}
    columns = np.asarray([place.get(name, -1) for name in dataset.classes], dtype=np.int64)[part.labels]
    kept = np.flatnonzero(columns >= 0)
    return logits[kept][:, shared], columns[kept], [part.names[row] for row in kept.tolist()]


def _tested(
    probe: Probe, backbone: Backbone, test: Dataset, train: Dataset, shared: list[int], extract: Extract
) -> Iterator[Score | Outputs | Note]:
    part = evaluation_part(test)
    logits, labels, names = _masked(probe.logits(features_of(backbone, part, extract)), part, test, train, shared)
    classes = [train.classes[label] for label in shared]
    yield Note(f"test_part:{test.name}", evaluated_on(part))
    if len(classes) < len(train.classes):
        yield Note(f"classes:{test.name}", classes)
    if len(labels) < len(part):
        count = len(part) - len(labels)
        yield Note(f"left_out:{test.name}", f"{count} of {len(part)} images are of classes not trained on", True)
    yield from report(logits, labels, names, test.name)


def _compared(abroad: Score, home: Score, split: str) -> Iterator[Score]:
    yield Score("id_top1", home.value, home.per_sample, split)
    yield Score("drop", home.value - abroad.value, None, split, higher_is_better=False, unit="difference")
    yield Score("effective_robustness", _logit(abroad) - _logit(home), None, split, unit="logits")


def _logit(score: Score) -> float:
    half = 0.5 / len(_items(score))
    share = min(max(score.value, half), 1 - half)
    return float(np.log(share / (1 - share)))


def _items(score: Score) -> np.ndarray:
    if score.per_sample is None:
        raise ValueError(f"{score.metric} came without its items")
    return score.per_sample


def _top1(answers: "Iterator[Score | Outputs] | list[Score | Outputs | Note]") -> Score:
    return next(answer for answer in answers if isinstance(answer, Score) and answer.metric == "top1")


def _correct(answers: list[Score | Outputs | Note]) -> np.ndarray:
    return _items(_top1(answers))


def _names(answers: list[Score | Outputs | Note]) -> list[str]:
    names: list[str] = next(answer.columns["item"] for answer in answers if isinstance(answer, Outputs)).tolist()
    return names


def _mean_over_sets(correct: list[np.ndarray]) -> Score:
    """Items weigh so that each set counts the same and their mean is the score."""
    total = sum(map(len, correct))
    items = np.concatenate([one * total / (len(correct) * len(one)) for one in correct])
    return Score("ood_top1", float(np.mean([one.mean() for one in correct])), items)


TASKS = {"ood.shift": Shift}
