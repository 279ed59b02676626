"""The dataset contract: named splits of encoded images with labels, and a content hash as identity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.images import Images
from backbones.places import Places


@dataclass(frozen=True)
class Split:
    """Images with their labels. Row ``i`` of everything belongs together; the order is the readers' sorted order.

    ``sha256`` holds one content hash an image: it finds identical files in two splits.
    """

    images: Images
    labels: NDArray[np.int64]
    sha256: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A set of images tasks are asked on.

    ``splits`` holds what is on disk and nothing carved: any of ``train``, ``val``, ``test`` (classification),
    ``query``, ``gallery`` (retrieval), or ``all`` where the source has no parts. ``labels`` index ``classes``.
    ``manifest_sha256`` is the identity: it covers every image's content, its split and its class name.
    ``n_total`` counts what was found, ``n_used`` what could be read (fewer only under ``skip_unreadable``).
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


@dataclass(frozen=True)
class OpenOptions:
    """How to open data; nothing in here changes a number except through what the record then says.

    Without ``download`` nothing is fetched: a set that is not on disk is a ``FileNotFoundError``. Sets of tens of GB or
    more are fetched by name only with ``large_downloads``: a folder that is called otherwise must not cost that.
    """

    places: Places = Places()
    cache: Path = Path("outputs/cache")
    skip_unreadable: bool = False
    download: bool = True
    large_downloads: bool = False


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
