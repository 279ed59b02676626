"""How much is lost when images are corrupted: noise, blur, weather and digital artefacts, level by level."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float64, Int64
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, Classifier
from backbones.plugins import unknown
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.competing import compete
from tasks.classification.linear import ProbeSettings, train_probe, val_top1
from tasks.classification.metrics import top_k_correct
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.report import report
from tasks.datasets.base import Dataset
from tasks.datasets.corruption_splits import corruption_and_level
from tasks.datasets.corruptions.catalogue import CORRUPTIONS, LEVELS, STANDARD
from tasks.datasets.imagenet import wordnet_ids
from tasks.datasets.partition import Part, Partition, partition, unlearnt_part, whole_part
from tasks.datasets.sources import some
from tasks.datasets.targets import target_refusal
from tasks.features import features_of
from tasks.ood.corruption_errors import CLEAN, ErrorTable, published_errors, relative_corruption_error
from tasks.readouts import ChosenReading


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Corruption(ChosenReading, ProbeSettings, Task):
    """The probe of ``classification.linear`` learnt on ``train``, tested clean and under each corruption and level.

    ``test`` has a split FUNCTION/LEVEL each (``corrupted:NAME``, ``imagenet-c``, ``cifar-10-c``). Classes are matched
    by name; only those both sets have are tested, and only they compete, clean as corrupted. ``classifier: own`` asks
    the checkpoint's own head instead. Beside what classification yields on ``clean`` and each FUNCTION/LEVEL:

    - corruption_error, split FUNCTION: 1 - top1, the mean over its levels;
    - mean_corruption_error: the mean of those over the 15 corruptions of ImageNet-C that are there, each weighing the
      same; extra_corruption_error is that of the 4 extra ones, which methods may be chosen by and which never count;
    - mCE and relative_mCE: errors, and what corruption adds to them, over a reference's (1 is as bad). ``reference:
      alexnet`` is the official one, on ImageNet with all 15 corruptions at all 5 levels (Hendrycks and Dietterich,
      2019); ``reference_errors`` are your own, {FUNCTION: its mean error over the same levels, clean: its error}, or a
      YAML file of that.
    """

    name: ClassVar[str] = "ood.corruption"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mean_corruption_error"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"train": "one", "test": "one"}
    files: ClassVar[tuple[str, ...]] = ("reference_errors",)

    classifier: Literal["probe", "own"] = "probe"
    reference: Literal["none", "alexnet"] = "none"
    reference_errors: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound_reference(self) -> "Corruption":
        if self.reference != "none" and self.reference_errors:
            raise ValueError(f"give either reference: {self.reference} or reference_errors, not both")
        for name, error in self.reference_errors.items():
            if name not in (known := [CLEAN, *CORRUPTIONS]):
                raise unknown("corruption in reference_errors:", name, known)
            if not 0 < error <= 1:
                raise ValueError(f"reference_errors: {name} is {error}; an error is above 0 and at most 1")
        clean = self.reference_errors.get(CLEAN, 0.0)
        if below := [name for name, error in self.reference_errors.items() if name != CLEAN and error <= clean]:
            raise ValueError(
                f"reference_errors: {', '.join(below)} is not above clean ({clean}); nothing was lost there"
            )
        return self

    def uses_seed(self, data: Data) -> bool:
        """Only where a probe is learnt and the seed decides which images of train are val."""
        return self.classifier == "probe" and is_seeded(data["train"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """No classifier to ask, no corruption set, too few classes in common, or a reference that does not fit."""
        train, test = data["train"][0], data["test"][0]
        if self.classifier == "probe":
            why = self.unreadable(backbone) or learning_refusal(train)
        else:
            why = _headless(backbone) or target_refusal(train)
        why = why or target_refusal(test) or _no_corruption_set(test)
        return why or _no_common_ground(train, test, self._outputs(backbone, train)) or self._unfit_reference(test)

    def _outputs(self, backbone: Backbone, train: Dataset) -> tuple[str, ...]:
        """The classes the classifier knows, in the order of its logits."""
        if self.classifier == "own" and isinstance(backbone, Classifier):
            return backbone.classes
        return train.classes

    def _unfit_reference(self, test: Dataset) -> str | None:
        """Why the reference cannot be divided by on this set."""
        levels = _levels(test)
        if self.reference == "alexnet":
            if set(test.classes) != set(wordnet_ids()):
                return (
                    f"reference: alexnet is for ImageNet's 1,000 classes; {test.name!r} has {len(test.classes)} others"
                )
            lacking = [f"{name}/{level}" for name in STANDARD for level in LEVELS if level not in levels.get(name, ())]
            if lacking:
                return f"reference: alexnet takes all 15 corruptions at 5 levels; {test.name!r} lacks {some(lacking)}"
        missing = [name for name in levels if name in STANDARD and name not in self.reference_errors]
        if self.reference_errors and missing:
            return f"reference_errors lack {some(missing)}, which {test.name!r} has"
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Learn once, test clean, test every corruption at every level, sum up."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        train, test = data["train"][0], data["test"][0]
        asked, notes = self._asked(backbone, train, tools, seed)
        yield from notes
        if self.classifier == "probe":
            yield from _leaked(train, partition(train, seed), test)
        names = [name for name in asked.classes if name in train.classes and name in test.classes]
        if len(names) < len(asked.classes):
            yield Note("classes", names)
        clean = _masked(asked, asked.clean, train, names)
        yield from clean.report(CLEAN)
        images, errors = {}, {}
        for split, content in test.splits.items():
            part = whole_part(split, content)
            tested = _masked(asked, part, test, names)
            if left_out := len(part) - len(tested.labels):
                yield Note(f"left_out:{split}", f"{left_out} of {len(part)} images are of classes not shared", True)
            yield from tested.report(split)
            images[split], errors[split] = _originals(split, tested.names), tested.errors()
        yield from _summed_up(ErrorTable(images, errors), float(clean.errors().mean()), self._reference())

    def _reference(self) -> Mapping[str, float]:
        return published_errors(self.reference) if self.reference != "none" else self.reference_errors

    def _asked(self, backbone: Backbone, train: Dataset, tools: Tools, seed: int) -> "tuple[_Asked, list[Note]]":
        """Who is asked, the clean images it never saw, and what the record says of it."""
        if self.classifier == "own":
            classes = self._outputs(backbone, train)
            return _Asked(
                classes, unlearnt_part(train), lambda part: features_of(backbone, part, tools.extract, "logits")
            ), [Note("classifier", "the checkpoint's own head")]
        parts = partition(train, seed)
        extract, chosen = self.chosen(backbone, tools.extract, lambda at: val_top1(self, backbone, parts, at))
        probe, learnt = train_probe(self, backbone, train, extract, seed)
        notes = [*partition_notes(parts), *chosen, *learnt]
        return _Asked(train.classes, parts.test, lambda part: probe.logits(features_of(backbone, part, extract))), notes


@plain_dataclass(frozen=True)
class _Asked:
    classes: tuple[str, ...]
    clean: Part
    logits: Callable[[Part], Float[np.ndarray, "n classes"]]


@plain_dataclass(frozen=True)
class _Tested:
    """The logits of the classes that compete, and of the images that have one of them, their labels and names."""

    logits: Float[np.ndarray, "n shared"]
    labels: Int64[np.ndarray, " n"]
    names: Sequence[str]

    def report(self, split: str) -> Iterator[Score | Outputs]:
        return report(self.logits, self.labels, self.names, split)

    def errors(self) -> Float64[np.ndarray, " n"]:
        return 1 - top_k_correct(self.logits, self.labels, 1)


def _masked(asked: _Asked, part: Part, dataset: Dataset, names: Sequence[str]) -> _Tested:
    logits = asked.logits(part)
    if logits.shape[1] != len(asked.classes):
        raise ValueError(f"the head gave {logits.shape[1]} logits but names {len(asked.classes)} classes")
    wanted = compete(dataset.classes, names, mask=True).of_class[part.labels]
    kept = np.flatnonzero(wanted >= 0)
    place = {name: column for column, name in enumerate(asked.classes)}
    columns = [place[name] for name in names]
    return _Tested(logits[kept][:, columns], wanted[kept], [part.names[row] for row in kept.tolist()])


def _summed_up(table: ErrorTable, clean: float, reference: Mapping[str, float]) -> Iterator[Score | Outputs]:
    """Means over levels, over corruptions, and over the reference's errors; each over images, which have names."""
    for name in table.levels:
        images, _ = table.by_image({name: 1.0})
        yield _mean(table, "corruption_error", {name: 1.0}, name)
        yield Outputs({"item": np.asarray(images, dtype=object)}, name)
    counted = [name for name in table.levels if name in STANDARD]
    extra = [name for name in table.levels if name not in STANDARD]
    even = dict.fromkeys(counted, 1 / len(counted))
    yield _mean(table, "mean_corruption_error", even)
    yield Outputs({"item": np.asarray(table.by_image(even)[0], dtype=object)})
    if extra:
        yield _mean(table, "extra_corruption_error", dict.fromkeys(extra, 1 / len(extra)))
    if reference:
        yield _mean(table, "mCE", {name: weight / reference[name] for name, weight in even.items()}, unit="ratio")
    if CLEAN in reference:
        relative = relative_corruption_error(table, counted, clean, reference)
        yield Score("relative_mCE", relative, higher_is_better=False, unit="ratio")


def _mean(
    table: ErrorTable, metric: str, weights: Mapping[str, float], split: str = "test", unit: str = "fraction"
) -> Score:
    _, items = table.by_image(weights)
    return Score(metric, float(items.mean()), items, split, higher_is_better=False, unit=unit)


def _originals(split: str, names: Sequence[str]) -> list[str]:
    """What an image is called under every corruption: on disk its folders say FUNCTION/LEVEL before that.

    >>> _originals("fog/3", ["weather/fog/3/n01440764/a.JPEG", "test/cat/b.jpg"])
    ['n01440764/a.JPEG', 'test/cat/b.jpg']
    """
    return [name.rpartition(f"{split}/")[2] for name in names]


def _levels(test: Dataset) -> dict[str, set[int]]:
    """The levels there are of each corruption."""
    found: dict[str, set[int]] = {}
    for split in test.splits:
        if known := corruption_and_level(split):
            found.setdefault(known[0], set()).add(known[1])
    return found


def _headless(backbone: Backbone) -> str | None:
    if isinstance(backbone, Classifier):
        return None
    return f"backbone {backbone.card.name!r} has no classifier head of its own; leave out classifier: own"


def _no_corruption_set(test: Dataset) -> str | None:
    foreign = [split for split in test.splits if corruption_and_level(split) is None]
    if foreign or not test.splits:
        return (
            f"dataset {test.name!r} has splits {some(list(test.splits))}, not a corruption and level each (fog/3); "
            f"write corrupted:{test.name}, or take imagenet-c, cifar-10-c, cifar-100-c"
        )
    if empty := [split for split, content in test.splits.items() if not len(content)]:
        return f"dataset {test.name!r}: {some(empty)} hold no images"
    if not set(_levels(test)) & set(STANDARD):
        return f"dataset {test.name!r} has none of the corruptions that count: {', '.join(STANDARD)}"
    return None


def _no_common_ground(train: Dataset, test: Dataset, outputs: Sequence[str]) -> str | None:
    try:
        clean = unlearnt_part(train)
    except ValueError as error:
        return str(error)
    shared = set(train.classes) & set(test.classes) & set(outputs)
    if len(shared) < 2:
        return (
            f"dataset {test.name!r} shares fewer than two classes with {train.name!r} and the classifier: it has "
            f"{some(test.classes, 12)}; {train.name!r} has {some(train.classes, 12)}; "
            f"the classifier knows {some(outputs, 12)}"
        )
    if not shared & {train.classes[label] for label in np.unique(clean.labels)}:
        return f"dataset {train.name!r} has no test images of the classes of {test.name!r}"
    for split, content in test.splits.items():
        if not shared & {test.classes[label] for label in np.unique(content.labels)}:
            return f"dataset {test.name!r}: {split} has no image of a class of {train.name!r}"
    return None


def _leaked(train: Dataset, parts: Partition, test: Dataset) -> Iterator[Note]:
    """A warning where what was corrupted is also what the probe learns from, by content."""
    learnt = {train.splits[part.split].sha256[row] for part in (parts.train, parts.val) for row in part.rows.tolist()}
    tested = set(next(iter(test.splits.values())).sha256)
    if both := len(learnt & tested):
        yield Note("leak", f"{both} of {len(tested)} images that are corrupted are also learnt from", True)


TASKS = {"ood.corruption": Corruption}
