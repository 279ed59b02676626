"""Which images of the sets beside home are asked: of unknown ones those that are not in-distribution after all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from backbones.plugins import unknown
from tasks.base import Data, Note
from tasks.classification.class_names import all_names
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, evaluation_part
from tasks.datasets.sources import some


@dataclass(frozen=True)
class Home:
    """What is in-distribution: its classes, and the content hash of every one of its images."""

    classes: tuple[str, ...]
    contents: frozenset[str]


@dataclass(frozen=True)
class Sifted:
    """The images of a set that are asked, and those that are not: how many by what reason, with names.

    ``alike`` are classes that are asked though their names hold that of one that was learnt.
    """

    name: str
    part: Part
    total: int
    left_out: dict[str, tuple[int, list[str]]]
    alike: tuple[str, ...] = ()

    def notes(self) -> Iterator[Note]:
        """Warnings of what was left out, and of classes kept whose names say that they are in-distribution."""
        if self.left_out:
            yield Note(f"left_out:{self.name}", f"of {self.total} images {self._told()}", warning=True)
        if self.alike:
            words = "classes that by their names may be in-distribution are kept (leave_out leaves them out): "
            yield Note(f"alike:{self.name}", words + some(self.alike, 20), warning=True)

    @property
    def refusal(self) -> str | None:
        """Why nothing can be asked."""
        if len(self.part):
            return None
        return f"dataset {self.name!r} has no image left to ask: of {self.total} {self._told()}"

    def _told(self) -> str:
        return "; ".join(f"{count} {reason} ({some(names, 20)})" for reason, (count, names) in self.left_out.items())


def asked_sets(data: Data, leave_out: Sequence[str]) -> dict[str, list[Sifted]]:
    """What is asked of the shifted, near, far and validation sets, by role.

    Raises ``ValueError`` for a class to leave out that no near, far or validation set has.
    """
    train, shifted = data["train"][0], data.get("shifted", ())
    given = {role: list(data.get(role, ())) for role in ("near", "far", "validation")}
    offered = list(dict.fromkeys(name for sets in given.values() for each in sets for name in each.classes))
    for name in leave_out:
        if name not in offered:
            raise unknown("class in leave_out, of the near, far and validation sets:", name, offered)
    home = home_of(train, shifted)
    sets = {role: [outsiders(each, home, leave_out) for each in given[role]] for role in ("near", "far")}
    tested = frozenset(
        content
        for role, several in sets.items()
        for each, one in zip(given[role], several, strict=True)
        for content in contents_of(each, one.part)
    )
    sets["validation"] = [outsiders(each, home, leave_out, tested) for each in given["validation"]]
    return {"shifted": [insiders(each, train.classes) for each in shifted], **sets}


def home_of(train: Dataset, shifted: Sequence[Dataset]) -> Home:
    """The classes that are learnt, and the images of every split."""
    splits = [split for dataset in (train, *shifted) for split in dataset.splits.values()]
    return Home(train.classes, frozenset(content for split in splits for content in split.sha256))


def outsiders(dataset: Dataset, home: Home, leave_out: Sequence[str], tested: frozenset[str] = frozenset()) -> Sifted:
    """The images a set is tested on (its test split, else val, else all) that are of no class and no file of home's.

    Classes are matched by name. ``leave_out`` names more classes that are not asked; ``tested`` holds the
    contents of images that nothing may be chosen by. Raises ``ValueError`` where there is nothing to test on.
    """
    part = evaluation_part(dataset)
    contents = contents_of(dataset, part)
    inside = [name for name in dataset.classes if name in home.classes]
    named = [name for name in dataset.classes if name in leave_out and name not in inside]
    reasons = {
        "are of in-distribution classes": (_of(part, dataset, inside), inside),
        "are left out by name": (_of(part, dataset, named), named),
        "are files of in-distribution images": (np.array([one in home.contents for one in contents]), None),
        "are files of the test sets": (np.array([one in tested for one in contents]), None),
    }
    kept, left_out = np.ones(len(part), dtype=bool), dict[str, tuple[int, list[str]]]()
    for reason, (mask, names) in reasons.items():
        rows = np.flatnonzero(mask & kept)
        kept[rows] = False
        if len(rows):
            left_out[reason] = len(rows), names or [part.names[row] for row in rows.tolist()]
    asked = part.only(np.flatnonzero(kept))
    return Sifted(dataset.name, asked, len(part), left_out, tuple(_alike(_present(asked, dataset), home.classes)))


def insiders(dataset: Dataset, classes: tuple[str, ...]) -> Sifted:
    """The images of a shifted set that are of these classes, labelled by them."""
    part = evaluation_part(dataset)
    place = {name: label for label, name in enumerate(classes)}
    places = np.asarray([*(place.get(name, -1) for name in dataset.classes), -1], dtype=np.int64)
    labels = places[part.labels]  # -1, no class at all, is the last
    kept, lost = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    others = _present(part.only(lost), dataset)
    left_out = {"are of no class learnt": (len(lost), others)} if len(lost) else {}
    return Sifted(dataset.name, replace(part.only(kept), labels=labels[kept]), len(part), left_out)


def contents_of(dataset: Dataset, part: Part) -> list[str]:
    """The content hash of each image of a part."""
    hashes = dataset.splits[part.split].sha256
    return [hashes[row] for row in part.rows.tolist()]


def _of(part: Part, dataset: Dataset, names: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """Which images are of one of these classes, or have one of these labels among theirs."""
    columns = np.asarray([dataset.classes.index(name) for name in names], dtype=np.int64)
    if part.targets is not None and dataset.target == "multilabel":
        return np.asarray((part.targets[:, columns] == 1).any(1))
    return np.isin(part.labels, columns)


def _present(part: Part, dataset: Dataset) -> list[str]:
    """The classes that any image is of."""
    if part.targets is not None and dataset.target == "multilabel":
        return [dataset.classes[column] for column in np.flatnonzero((part.targets == 1).any(0)).tolist()]
    return [dataset.classes[label] for label in np.unique(part.labels).tolist() if label >= 0]


def _alike(names: Sequence[str], classes: tuple[str, ...]) -> Iterator[str]:
    """Classes of another name that holds the name of a class learnt: an Egyptian cat where cat is one."""
    learnt = {each.lower(): name for name in classes for each in all_names(name)}
    for name in names:
        pairs = ((each, run) for each in all_names(name) for run in _runs(each.lower().split()) if run in learnt)
        for each, run in list(pairs)[:1]:
            yield f"{name} ({each}), like {learnt[run]}"


def _runs(words: Sequence[str]) -> Iterator[str]:
    """Every run of words."""
    return (" ".join(words[begin:end]) for end in range(1, len(words) + 1) for begin in range(end))
