"""cifar-c:FOLDER[#10|100][?corruptions=fog,snow&levels=1,3] - CIFAR-10-C or CIFAR-100-C, as their archives unpack.

A file ``FUNCTION.npy`` a corruption, its five levels one after the other, and ``labels.npy``; a split each, called
``fog/3``. For instance ``cifar-c:CIFAR-10-C``, or ``cifar-c:CIFAR-100-C#100``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.corruption_splits import SETTINGS, Choice, choice_of
from tasks.datasets.corruptions.catalogue import LEVELS
from tasks.datasets.folder_source import stamp_of
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import some

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)  # fmt: skip
CLASSES = {"10": CIFAR_10, "100": CIFAR_100}
FROM = "https://zenodo.org/records/2535967 (10 classes) or https://zenodo.org/records/3555552 (100)"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open what is there of the corruptions and levels asked for; arrays stay on disk, and nothing pickled is loaded.

    Raises ``FileNotFoundError`` where none is, or where one that was asked for by name is not, and ``ValueError`` for
    arrays of another shape or kind and for labels that are no classes.
    """
    parts = parse(reference, "cifar-c", SETTINGS)
    if (part := parts.part or "10") not in CLASSES:
        raise unknown(f"part of dataset 'cifar-c:{reference}',", part, CLASSES)
    root = options.places.find(parts.path, "folder of CIFAR-C")
    chosen = choice_of(parts.settings)
    names = [name for name in chosen.corruptions if (root / f"{name}.npy").is_file()]
    lacking = [f"{name}.npy" for name in chosen.corruptions if name not in names]
    if names and "corruptions" not in parts.settings:
        lacking = []  # what is there of all
    if not (root / "labels.npy").is_file():
        lacking = ["labels.npy", *lacking]
    if lacking:
        raise FileNotFoundError(f"{root} lacks {some(lacking)}; get it from {FROM}")
    labels = _labels(root / "labels.npy", len(CLASSES[part]))
    source = ArrayFiles(root, tuple(names), len(labels) * len(LEVELS))
    for name in names:
        _check(root / f"{name}.npy", len(labels))
    items = [*_items(source, Choice(tuple(names), chosen.levels), labels, CLASSES[part])]
    found = Found(f"cifar-c:{reference}", source, items, CLASSES[part], str(root), licence="CC BY 4.0", made_here=True)
    return assemble(found, options)


@dataclass(frozen=True)
class ArrayFiles:
    """Rows of arrays as PNG files ``fog/3/00012.png``; the number is an image's place within its level."""

    root: Path
    names: tuple[str, ...] = field(repr=False)
    rows: int

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self.root.absolute())

    def files(self) -> Sequence[str]:
        """Names, sorted."""
        each = self.rows // len(LEVELS)
        return sorted(self.file(name, level, row) for name in self.names for level in LEVELS for row in range(each))

    def folders(self) -> Sequence[str]:
        """None: arrays have no folders."""
        return ()

    def file(self, name: str, level: int, row: int) -> str:
        """What the image at that place is called."""
        return f"{name}/{level}/{row:05}.png"

    def stamp(self, name: str) -> str:
        """The stamp of the array's file."""
        return stamp_of(self.root / f"{name.partition('/')[0]}.npy")

    def read(self, name: str) -> bytes:
        """The pixels of one image as a PNG."""
        corruption, level, file = name.split("/")
        row = (int(level) - 1) * (self.rows // len(LEVELS)) + int(file.removesuffix(".png"))
        return encode_png(np.asarray(_opened(self.root / f"{corruption}.npy")[row]))


@lru_cache(maxsize=32)
def _opened(path: Path) -> NDArray[Any]:
    """Mapped once a process: a worker process opens the file anew and never gets a copy of it."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no array that numpy can read without running code: {error}") from error
    return array


def _labels(path: Path, classes: int) -> Int64[np.ndarray, " n"]:
    _opened.cache_clear()
    labels = _opened(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or len(labels) % len(LEVELS):
        raise ValueError(
            f"{path} holds {labels.dtype} of shape {labels.shape}; it must be one whole number an image, for "
            f"{len(LEVELS)} levels of as many images each"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{path} holds labels {labels.min()}..{labels.max()}, but the classes are 0..{classes - 1}"
            + ("; write #100 for CIFAR-100-C" if classes == len(CIFAR_10) else "")
        )
    each = len(labels) // len(LEVELS)
    if (labels.reshape(len(LEVELS), each) != labels[:each]).any():
        raise ValueError(f"{path}: the levels have other labels than the first; they must be the same images")
    return labels[:each].astype(np.int64)


def _check(path: Path, each: int) -> None:
    array = _opened(path)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or len(array) != each * len(LEVELS):
        raise ValueError(
            f"{path} holds {array.dtype} of shape {array.shape}; it must be uint8 of shape "
            f"({each * len(LEVELS)}, height, width, 3), since labels.npy has as many"
        )


def _items(source: ArrayFiles, chosen: Choice, labels: Int64[np.ndarray, " n"], classes: Sequence[str]) -> list[Item]:
    return [
        Item(f"{name}/{level}", classes[label], file, file)
        for name, level in chosen.splits()
        for row, label in enumerate(labels.tolist())
        for file in [source.file(name, level, row)]
    ]


DATASETS = {"cifar-c": read}
