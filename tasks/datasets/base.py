"""The dataset contract: named splits of encoded images with labels, and a content hash as identity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from backbones.images import Images
from backbones.places import Places
from tasks.datasets.label_maps import LabelMaps
from tasks.datasets.objects import Objects
from tasks.datasets.relevance import Relevance

Target = Literal["class", "multilabel", "ordinal", "value", "relevance", "captions", "objects", "pixels", "nothing"]
"""What is known of an image: one class; any of several labels; one class of an order that is meant; one number; nothing
but which images of the gallery answer it; nothing but texts that describe it; its objects, each with a class and a box;
the class of each of its pixels; or nothing."""

Frequency = Literal["r", "c", "f"]
"""Rare, common, frequent: in how many images of train a class is, in LVIS's bins (up to 10, up to 100, more)."""


@dataclass(frozen=True)
class Split:
    """Images with their labels. Row ``i`` of everything belongs together; the order is the readers' sorted order.

    ``sha256`` holds one content hash an image: it finds identical files in two splits. ``labels`` index the dataset's
    classes; where an image has no one class they are all -1, and ``targets`` says what is known: a column for each of
    the dataset's ``classes`` (multilabel: 0, 1 or NaN for unknown; value: one column of finite numbers).
    ``groups``, where the source names them, says whose an image is (a patient): no group is ever divided by a carve.
    ``captions``, where there are any, are the texts that describe each image, in the source's order (perhaps none).
    ``objects`` (target objects) holds what is annotated in each image, ``maps`` (target pixels) each pixel's class.
    """

    images: Images
    labels: NDArray[np.int64]
    sha256: tuple[str, ...] = field(repr=False)
    targets: Float32[np.ndarray, "n k"] | None = None
    groups: tuple[str, ...] | None = field(default=None, repr=False)
    captions: tuple[tuple[str, ...], ...] | None = field(default=None, repr=False)
    objects: tuple[Objects, ...] | None = field(default=None, repr=False)
    maps: LabelMaps | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A set of images tasks are asked on.

    ``splits`` holds what is on disk and nothing carved: any of ``train``, ``val``, ``test`` (classification),
    ``query``, ``gallery`` (retrieval), or ``all`` where the source has no parts. ``labels`` index ``classes``,
    which are the labels' names where ``target`` is multilabel, in their order where it is ordinal, and the number's
    name where it is value. A task that needs one class an image refuses the others (``targets.target_refusal``).
    ``relevance``, where it is there, says by row which images of ``gallery`` answer each of ``query``; images then may
    have no class at all (``target`` is relevance, there are no ``classes``, and every label is -1).
    ``manifest_sha256`` is the identity: it covers every image's content, its split, its class name, targets, group,
    captions, objects and map, and the relevance by the images' names.
    ``n_total`` counts what was found, ``n_used`` what could be read (fewer only under ``skip_unreadable``).
    ``frequency``, where a set states it (LVIS), says of each class whether it is rare, common or frequent in train.
    ``warnings`` are true statements a reader of the results must see (leaked duplicates, skipped files, ...).
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    manifest_sha256: str
    licence: str
    source: str
    n_total: int
    n_used: int
    warnings: tuple[str, ...] = ()
    target: Target = "class"
    relevance: Relevance | None = field(default=None, repr=False)
    frequency: tuple[Frequency, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class OpenOptions:
    """How to open data; nothing in here changes a number except through what the record then says.

    Without ``download`` nothing is fetched: a set that is not on disk is a ``FileNotFoundError``. Sets of tens of GB or
    more are fetched by name only with ``large_downloads``: a folder that is called otherwise must not cost that.
    ``drop_bad_boxes`` leaves out objects whose box, area or outline is none (a box without width), and says how many.
    """

    places: Places = Places()
    cache: Path = Path("outputs/cache")
    skip_unreadable: bool = False
    download: bool = True
    large_downloads: bool = False
    drop_bad_boxes: bool = False


class Reader(Protocol):
    """What a plug-in file provides: ``images:PATH#PART`` calls the ``images`` reader with ``PATH#PART``."""

    def __call__(self, reference: str, options: OpenOptions) -> Dataset: ...


def carve(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into (kept, carved), stratified by class, both sorted; each class of two or more is on both sides.

    A class gives ``round(fraction * n)`` rows, at least one and never its last; a class of one row is kept whole.
    """
    generator = np.random.default_rng(seed)
    carved: list[Sequence[int]] = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        carved.append(rows[:count].tolist())
    taken = np.sort(np.asarray([row for rows in carved for row in rows], dtype=np.int64))
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), taken), taken


def carve_groups(groups: Sequence[str], fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into (kept, carved), both sorted, no group on both sides: groups in shuffled order, not stratified.

    Groups are carved until they hold ``round(fraction * n)`` rows or more; at least one is, and never the last.

    >>> kept, carved = carve_groups(["ann", "ann", "bob", "eve"], 0.25, seed=0)
    >>> kept.tolist(), carved.tolist()
    ([0, 1, 2], [3])
    """
    _, place, sizes = np.unique(np.asarray(groups, dtype=object), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), round(fraction * len(place)))) + 1
    count = max(0, min(enough, len(sizes) - 1))
    taken = np.isin(place, order[:count])
    return np.flatnonzero(~taken), np.flatnonzero(taken)
