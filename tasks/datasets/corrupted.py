"""corrupted:INNER[?corruptions=fog,snow&levels=1,3&...] - any dataset, corrupted while it is read.

The test images of any dataset, given to the nineteen corruptions of ImageNet-C at five levels: a split each, called
``fog/3``, made while it is read and never stored. For instance ``corrupted:digits``, or
``corrupted:images:cifar10_subset.zip?levels=1,3,5&corruptions=fog,jpeg_compression&per_class=50&seed=0``. Settings that
are none of ours are INNER's own. ``size=224`` first makes images that size, as ImageNet-C did: with it
``corrupted:imagenet-1k?size=224`` follows its recipe. ``of=all`` takes every image of a set that is only tested on.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from backbones.images import Images, decode_row
from backbones.plugins import unknown
from tasks.catalogue import open_dataset
from tasks.datasets.base import Dataset, OpenOptions, Split
from tasks.datasets.corruption_splits import SETTINGS, choice_of
from tasks.datasets.corruptions.catalogue import VERSION, corrupt
from tasks.datasets.corruptions.pixels import Pixels
from tasks.datasets.joined import SomeImages
from tasks.datasets.label_maps import LabelMaps
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.manifest import Item, manifest_sha256
from tasks.datasets.partition import Part, evaluation_part, unlearnt_part
from tasks.datasets.targets import PLACED

KNOWN = (*SETTINGS, "per_class", "size", "seed", "of")
_RESIZE = 256 / 224
"""ImageNet-C cuts 224 px from the middle of an image whose shorter side is 256."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open INNER and put a corruption and a level before each split; no image is decoded.

    By default the images are those that a probe trained on INNER is tested on. What is drawn at random follows from
    seed, corruption, level and an image's own content, so a subset holds the same pixels as the whole.

    Raises ``ValueError`` for a setting that is none and for a set without test images.
    """
    inner, settings = _take_apart(reference)
    chosen = choice_of(settings)
    seed, size, per_class = (
        _whole(settings, name, least) for name, least in (("seed", 0), ("size", 1), ("per_class", 1))
    )
    dataset = open_dataset(inner, options)
    part = _some(_asked(dataset, settings.get("of", "test")), dataset, per_class)
    if size is not None and dataset.target in PLACED:
        raise ValueError(f"size={size} of a corrupted set cuts images, and {inner!r} says where things are")
    rows = tuple(part.rows.tolist())
    contents = tuple(dataset.splits[part.split].sha256[row] for row in rows)
    splits = {
        f"{name}/{level}": Split(
            CorruptedImages(part.images, rows, contents, name, level, seed or 0, size),
            part.labels,
            contents,  # of what was corrupted: that tells whether it was learnt from
            part.targets,
            objects=part.objects,
            maps=None if part.maps is None else LabelMaps(SomeImages(part.maps.images, rows), part.maps.meaning),
        )
        for name, level in chosen.splits()
    }
    return Dataset(
        name=f"corrupted:{reference}",
        classes=dataset.classes,
        splits=splits,
        manifest_sha256=_manifest(dataset, part, contents, [*splits], seed or 0, size),
        licence=dataset.licence,
        source=f"{dataset.source}, {len(part)} images of {part.split}, corrupted as in Hendrycks and Dietterich (2019)",
        n_total=len(splits) * len(part),
        n_used=len(splits) * len(part),
        warnings=dataset.warnings,
        target=dataset.target,
        frequency=dataset.frequency,
    )


@dataclass(frozen=True)
class CorruptedImages:
    """Some images of a set under one corruption at one level, made when read, as PNG files."""

    inner: Images = field(repr=False)
    rows: tuple[int, ...] = field(repr=False)
    contents: tuple[str, ...] = field(repr=False)
    corruption: str
    level: int
    seed: int
    size: int | None

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the contents that are corrupted, row by row, and over all that says how."""
        how = [self.corruption, self.level, self.seed, self.size, VERSION]
        return hashlib.sha256("\n".join([json.dumps(how), *self.contents]).encode()).hexdigest()

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of what is corrupted: an image is called the same under every corruption."""
        return tuple(self.inner.names[row] for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one corrupted image. Raises ``UnreadableImage`` naming what cannot be decoded."""
        pixels = decode_row(self.inner, self.rows[index]).permute(1, 2, 0).contiguous().numpy()
        image = pixels if self.size is None else cut(pixels, self.size)
        return encode_png(corrupt(image, self.corruption, self.level, self.seed, self.contents[index]))


def cut(image: Pixels, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The middle ``size`` x ``size`` of the image once its shorter side is 8/7 of that."""
    height, width = image.shape[:2]
    shorter = round(size * _RESIZE)
    scale = shorter / min(height, width)
    large = max(shorter, int(width * scale)), max(shorter, int(height * scale))
    left, top = round((large[0] - size) / 2), round((large[1] - size) / 2)
    resized = Image.fromarray(image).resize(large, Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def _take_apart(reference: str) -> tuple[str, dict[str, str]]:
    """INNER with its own settings, and ours. Raises ``ValueError`` for what is nearly one of ours."""
    inner, _, told = reference.partition("?")
    if not inner:
        raise ValueError(f"dataset {'corrupted:' + reference!r} names no dataset; write corrupted:NAME")
    settings: dict[str, str] = {}
    theirs = []
    for pair in filter(None, told.split("&")):
        key, _, value = pair.partition("=")
        if key in KNOWN:
            settings[key] = value
        elif difflib.get_close_matches(key, KNOWN, cutoff=0.75):
            raise unknown(f"setting of dataset {'corrupted:' + reference!r},", key, KNOWN)
        else:
            theirs.append(pair)
    return inner + ("?" + "&".join(theirs) if theirs else ""), settings


def _whole(settings: Mapping[str, str], name: str, least: int) -> int | None:
    if name not in settings:
        return None
    if not settings[name].isdecimal() or int(settings[name]) < least:
        raise ValueError(f"{name}={settings[name]!r} of a corrupted set must be a whole number from {least} on")
    return int(settings[name])


def _asked(dataset: Dataset, which: str) -> Part:
    if which not in (known := ("test", "all")):
        raise unknown("value of 'of'", which, known)
    return unlearnt_part(dataset) if which == "test" else evaluation_part(dataset)


def _some(part: Part, dataset: Dataset, per_class: int | None) -> Part:
    """That many images a class, or all where there are fewer: those whose content hashes come first."""
    if per_class is None:
        return part
    contents = dataset.splits[part.split].sha256
    order = sorted(range(len(part)), key=lambda at: (contents[int(part.rows[at])], at))
    taken: dict[int, int] = {}
    kept = []
    for at in order:
        label = int(part.labels[at])
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= per_class:
            kept.append(at)
    return part.only(np.asarray(sorted(kept), dtype=np.int64))


def _manifest(
    dataset: Dataset, part: Part, contents: Sequence[str], splits: Sequence[str], seed: int, size: int | None
) -> str:
    """Over the manifest of the images and all that says how they are corrupted."""
    classes = [dataset.classes[label] if part.targets is None else "" for label in part.labels.tolist()]
    targets: list[list[float]] = [[] for _ in classes] if part.targets is None else part.targets.tolist()
    items = [
        Item("test", class_name, name, name, tuple(values))
        for class_name, name, values in zip(classes, part.names, targets, strict=True)
    ]
    images = manifest_sha256(items, contents, dataset.target, dataset.classes)
    how = ["corrupted", images, sorted(splits), seed, size, VERSION]
    if dataset.target in PLACED:
        how.append(dataset.manifest_sha256)
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()


DATASETS = {"corrupted": read}
