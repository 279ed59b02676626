"""Which images a task learns from, chooses by and is tested on, for a dataset with whatever splits it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int64

from backbones.images import Images
from tasks.datasets.asked_once import asked_once
from tasks.datasets.base import Dataset, Split, carve, carve_groups
from tasks.datasets.label_maps import LabelMaps
from tasks.datasets.objects import Objects
from tasks.datasets.targets import ONE_CLASS

TEST_SHARE = VAL_SHARE = 0.2
TEST_SEED = 0
"""Every seed is tested on the same images, so that runs can be compared image by image."""


@dataclass(frozen=True)
class Part:
    """Some rows of a split: ``labels[i]`` belongs to ``images.read(rows[i])``. Features are extracted by split.

    ``targets[i]``, where images have no one class, is what the split knows of the same image; so are ``groups[i]`` and
    ``objects[i]``. ``maps`` are the split's: the map of the same image is ``maps.read(rows[i])``.
    """

    split: str
    images: Images
    rows: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    targets: Float32[np.ndarray, "n k"] | None = None
    groups: tuple[str, ...] | None = None
    objects: tuple[Objects, ...] | None = None
    maps: LabelMaps | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of the part's own images."""
        return [self.images.names[row] for row in self.rows]

    def only(self, at: Int64[np.ndarray, " k"]) -> "Part":
        """Some of the part's images by their place in it, in that order, with all that is known of them."""
        places = at.tolist()
        return replace(
            self,
            rows=self.rows[at],
            labels=self.labels[at],
            targets=None if self.targets is None else self.targets[at],
            groups=None if self.groups is None else tuple(self.groups[place] for place in places),
            objects=None if self.objects is None else tuple(self.objects[place] for place in places),
        )


@dataclass(frozen=True)
class Partition:
    """Three parts that share no row. ``notes`` says where each came from; ``seeded`` whether the seed matters."""

    train: Part
    val: Part
    test: Part
    notes: Mapping[str, str]
    seeded: bool


def partition(dataset: Dataset, seed: int) -> Partition:
    """Train, val and test of a dataset. Official splits stay as they are; what is missing is carved, and noted.

    No val: 20 % of train, by ``seed``. Val but no test: val is the test, as is usual for ImageNet. One split only: 20 %
    become the test, the same for every seed. Classes are carved stratified; where the split names groups whole groups
    are carved, and where images have no one class single images are: both shuffled, since no strata are defined.
    Raises ``ValueError`` where there is nothing to train on.
    """
    return _planned(dataset) if seed == 0 else _divided(dataset, seed)


@asked_once
def _planned(dataset: Dataset) -> Partition:
    """Of seed 0, which is what all refusals ask for; other seeds are a cell's own, and would fill the memory."""
    return _divided(dataset, 0)


def _divided(dataset: Dataset, seed: int) -> Partition:
    whole = _only_split(dataset)
    if whole:
        kept, tested, how = _carve(_part(dataset, whole), TEST_SHARE, TEST_SEED, dataset)
        notes = {"test": f"carved from {whole}: 20 %, {how}, the same for every seed"}
        return _with_carved_val(kept, tested, notes, seed, dataset)
    if "train" not in dataset.splits or not {"val", "test"} & set(dataset.splits):
        raise ValueError(
            f"dataset {dataset.name!r} has splits {', '.join(dataset.splits)}; to learn from it takes train or all"
        )
    train = _part(dataset, "train")
    if "test" not in dataset.splits:
        notes = {"test": "the official val split, since there is no test split"}
        return _with_carved_val(train, _part(dataset, "val"), notes, seed, dataset)
    test = _part(dataset, "test")
    if "val" not in dataset.splits:
        return _with_carved_val(train, test, {"test": "official"}, seed, dataset)
    official = dict.fromkeys(("train", "val", "test"), "official")
    return Partition(train, _part(dataset, "val"), test, official, seeded=False)


def evaluation_part(dataset: Dataset) -> Part:
    """What a dataset that is only tested on is tested on: its test split, else val, else all it has."""
    for split in ("test", "val", "all", "train"):
        if split in dataset.splits:
            return _part(dataset, split)
    raise ValueError(f"dataset {dataset.name!r} has splits {', '.join(dataset.splits)}; none to classify")


def unlearnt_part(dataset: Dataset) -> Part:
    """What a probe trained on the dataset never sees: its test part; where nothing can be learnt, what it is tested on.

    Raises ``ValueError`` where there is neither.
    """
    try:
        return partition(dataset, TEST_SEED).test
    except ValueError:
        return evaluation_part(dataset)


def every_part(dataset: Dataset) -> list[Part]:
    """Everything a dataset has, a part a split: for a task that makes a division of its own of the whole."""
    return [_part(dataset, split) for split in dataset.splits]


def evaluated_on(part: Part) -> str:
    """Where an :func:`evaluation_part` came from, as a note says it."""
    return {
        "test": "official",
        "val": "the official val split, since there is no test split",
        "all": "every image, since there are no splits",
        "train": "the train split, since there is no other",
    }[part.split]


def _only_split(dataset: Dataset) -> str:
    """The name of the only split, where it is one that can be divided."""
    names = list(dataset.splits)
    return names[0] if names in (["all"], ["train"]) else ""


def _with_carved_val(train: Part, test: Part, notes: Mapping[str, str], seed: int, dataset: Dataset) -> Partition:
    kept, val, how = _carve(train, VAL_SHARE, seed, dataset)
    origin = f"carved from {train.split}: 20 %, {how}, seed {seed}"
    return Partition(kept, val, test, {"train": f"{train.split} without what was carved", "val": origin, **notes}, True)


def _part(dataset: Dataset, split: str) -> Part:
    found = dataset.splits[split]
    if not len(found):
        raise ValueError(f"dataset {dataset.name!r}: its {split} split is empty")
    return whole_part(split, found)


def whole_part(name: str, split: Split) -> Part:
    """All of a split."""
    rows = np.arange(len(split), dtype=np.int64)
    return Part(name, split.images, rows, split.labels, split.targets, split.groups, split.objects, split.maps)


def _carve(part: Part, share: float, seed: int, dataset: Dataset) -> tuple[Part, Part, str]:
    """What is kept, what is carved, and how that was done in words."""
    split = dataset.splits[part.split]
    if split.groups is not None:
        kept, carved = carve_groups([split.groups[row] for row in part.rows.tolist()], share, seed)
        how, lack = "whole groups shuffled", "all images are of one group"
    elif dataset.target in ONE_CLASS:
        kept, carved = carve(part.labels, share, seed)
        how, lack = "stratified", "no class has two images to share"
    else:
        kept, carved = carve_groups([str(row) for row in part.rows.tolist()], share, seed)
        how, lack = "shuffled", "there is one image only"
    if not len(carved):
        raise ValueError(f"dataset {dataset.name!r}: nothing can be carved from {part.split}, since {lack}")
    return part.only(kept), part.only(carved), how
