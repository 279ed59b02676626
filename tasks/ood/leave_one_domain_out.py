"""A linear probe trained on all domains but one and tested on that one, for each of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.linear import ProbeSettings, chosen_probe
from tasks.classification.probe import choose
from tasks.classification.report import report
from tasks.datasets.base import Dataset, carve, carve_groups
from tasks.datasets.partition import VAL_SHARE, every_part
from tasks.datasets.sources import some
from tasks.datasets.targets import target_refusal
from tasks.features import features_of
from tasks.ood.several_sets import SeveralSets
from tasks.readouts import ChosenReading

Matrix = NDArray[np.float32]
Lesson = tuple[Matrix, NDArray[np.int64]]
"""Features (n, dim) and labels (n,); of how many rows differs between the parts of one call."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LeaveOneDomainOut(ChosenReading, ProbeSettings, Task):
    """Each of ``domains`` (datasets of the same classes) is left out once; ``split`` is the name of the one left out.

    The probe learns from 80 % of each other domain, stratified by class and drawn by the seed, and its strength is the
    best on the union of their other 20 %: training-domain validation, without a refit (Gulrajani and Lopez-Paz 2021).
    It is tested on every image of the domain left out, of which nothing was seen before, official splits or not.
    ``ood_top1`` is the mean top1 over the domains, each weighing the same.
    """

    name: ClassVar[str] = "ood.leave_one_domain_out"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "ood_top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"domains": "many"}

    def uses_seed(self, data: Data) -> bool:
        """Always: it draws the 20 % of each domain."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """Fewer than two domains, or domains whose classes are not the same."""
        if why := self.unreadable(backbone):
            return why
        domains = data["domains"]
        names = [domain.name for domain in domains]
        if len(names) < 2 or len(set(names)) < len(names):
            return f"the domains must be two or more that differ from one another; got {', '.join(names) or 'none'}"
        for domain in domains:
            if why := _unfit(domain, domains[0]):
                return why
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Leave each out once: choose and learn on the others, test on it."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        domains = [_divided(dataset, data["domains"][0].classes, seed) for dataset in data["domains"]]
        yield Note("train_part", f"80 % of every domain but the one left out, seed {seed}")
        yield Note("val_part", f"the other 20 % of the same domains, seed {seed}")
        yield Note("test_part", "every image of the domain left out")
        yield from _shared_images(data["domains"])
        sets = SeveralSets()
        for left_out in domains:
            sources = [domain for domain in domains if domain is not left_out]
            answers = list(self._without(left_out, sources, backbone, tools.extract))
            yield from answers
            sets.add(left_out.name, answers)
        yield from sets.mean()

    def _without(
        self, left_out: "_Domain", sources: Sequence["_Domain"], backbone: Backbone, extract: Extract
    ) -> Iterator[Score | Outputs | Note]:
        classes = len(left_out.dataset.classes)

        def on_val(at: Extract) -> float:
            train, val = _lessons(sources, backbone, at)
            return max(choose(train, val, classes, self.grid(), self.tolerance).accuracy)

        at, chosen = self.chosen(backbone, extract, on_val)
        probe, learnt = chosen_probe(self, *_lessons(sources, backbone, at), classes, refit=False)
        for note in (*chosen, *learnt):
            yield Note(f"{note.name}:{left_out.name}", note.value, note.warning)
        logits = probe.logits(left_out.features(backbone, at))
        yield from report(logits, left_out.labels, left_out.names, left_out.name)


@plain_dataclass(frozen=True)
class _Domain:
    """All images of a domain, split after split, their labels in the common order, and which rows are val."""

    dataset: Dataset
    labels: Int64[np.ndarray, " n"]
    train: Int64[np.ndarray, " t"]
    val: Int64[np.ndarray, " v"]

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def names(self) -> list[str]:
        return [name for part in every_part(self.dataset) for name in part.names]

    def features(self, backbone: Backbone, extract: Extract) -> Matrix:
        """Extracted split by split, as every task does, so that the cache serves them all."""
        parts = [features_of(backbone, part, extract) for part in every_part(self.dataset)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _divided(dataset: Dataset, classes: Sequence[str], seed: int) -> _Domain:
    place = {name: label for label, name in enumerate(classes)}
    order = np.asarray([place[name] for name in dataset.classes], dtype=np.int64)
    parts = every_part(dataset)
    labels = order[np.concatenate([part.labels for part in parts])]
    groups = [group for part in parts for group in part.groups or ()]
    divided = carve_groups(groups, VAL_SHARE, seed) if len(groups) == len(labels) else carve(labels, VAL_SHARE, seed)
    return _Domain(dataset, labels, *divided)


def _lessons(sources: Sequence[_Domain], backbone: Backbone, extract: Extract) -> tuple[Lesson, Lesson]:
    """What is learnt from, and what is chosen by: of all sources together."""
    features = [source.features(backbone, extract) for source in sources]
    labels = [source.labels for source in sources]
    train, val = [source.train for source in sources], [source.val for source in sources]
    return _together(features, labels, train), _together(features, labels, val)


def _together(
    features: Sequence[Matrix], labels: Sequence[NDArray[np.int64]], rows: Sequence[NDArray[np.int64]]
) -> Lesson:
    """These rows of each source."""
    return (
        np.concatenate([each[kept] for each, kept in zip(features, rows, strict=True)]),
        np.concatenate([each[kept] for each, kept in zip(labels, rows, strict=True)]),
    )


def _unfit(domain: Dataset, first: Dataset) -> str | None:
    """Why this domain cannot be one of them."""
    if why := target_refusal(domain):
        return why
    try:
        divided = _divided(domain, domain.classes, 0)
    except ValueError as error:
        return str(error)
    if differing := sorted(set(domain.classes) ^ set(first.classes)):
        return (
            f"domains must have the same classes; {first.name!r} and {domain.name!r} differ in "
            f"{len(differing)}: {some(differing)}"
        )
    if not len(divided.train) or not len(divided.val):
        return f"domain {domain.name!r} cannot be divided: no class of it has two images to share"
    if len(np.unique(divided.labels[divided.train])) < 2:
        return f"domain {domain.name!r} has images of one class only; there is nothing to tell apart"
    return None


def _shared_images(domains: Sequence[Dataset]) -> Iterator[Note]:
    """A warning for each domain with files that another has too: left out, they were seen before."""
    owners = defaultdict[str, set[str]](set)
    for domain in domains:
        for split in domain.splits.values():
            for content in split.sha256:
                owners[content].add(domain.name)
    for domain in domains:
        contents = [content for split in domain.splits.values() for content in split.sha256]
        if count := sum(len(owners[content]) > 1 for content in contents):
            yield Note(f"leak:{domain.name}", f"{count} of its {len(contents)} images are also in another domain", True)


TASKS = {"ood.leave_one_domain_out": LeaveOneDomainOut}
