"""resized:INNER?side=32 - INNER with every image scaled so that its shorter side has that many pixels.

For instance ``resized:images:tiny_imagenet_subset.zip?side=32`` beside CIFAR-10: where two sets differ in resolution, a
number may tell sharp from blurred and nothing else. Other settings are INNER's own.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from PIL import Image

from backbones.images import Images, decode_row, to_pil
from tasks.catalogue import open_dataset
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.targets import PLACED

VERSION = 1
"""Counted up whenever the same image and side give other pixels."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open INNER; no image is scaled before it is read.

    Splits, labels, groups and content hashes stay INNER's: an image is the same one at any size. Raises ``ValueError``
    where ``side`` is missing or no whole number above 0.
    """
    inner, side = _take_apart(reference)
    dataset = open_dataset(inner, options)
    if dataset.target in PLACED:
        raise ValueError(f"dataset {inner!r} says where in its images things are, which resized: would lose")
    splits = {name: replace(split, images=ResizedImages(split.images, side)) for name, split in dataset.splits.items()}
    return replace(
        dataset,
        name=f"resized:{reference}",
        splits=splits,
        manifest_sha256=_hash("resized", dataset.manifest_sha256, side),
        source=f"{dataset.source}, shorter side scaled to {side} px",
    )


@dataclass(frozen=True)
class ResizedImages:
    """Images scaled when they are read (bicubic, antialiased, as Pillow does), as PNG files."""

    inner: Images = field(repr=False)
    side: int

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the images' identity and all that says how they are scaled."""
        return _hash("resized", self.inner.identity, self.side)

    @property
    def names(self) -> Sequence[str]:
        """The images' own."""
        return self.inner.names

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one scaled image. Raises ``UnreadableImage`` naming what cannot be decoded."""
        image = to_pil(decode_row(self.inner, index))
        scale = self.side / min(image.size)
        width, height = (max(self.side, round(length * scale)) for length in image.size)
        return encode_png(np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)))


def _take_apart(reference: str) -> tuple[str, int]:
    """INNER with its own settings, and the side."""
    inner, _, told = reference.partition("?")
    settings = [pair for pair in told.split("&") if pair]
    sides = [pair.removeprefix("side=") for pair in settings if pair.startswith("side=")]
    if not inner or len(sides) != 1 or not sides[0].isdecimal() or int(sides[0]) < 1:
        raise ValueError(f"dataset {'resized:' + reference!r}: write resized:NAME?side=32 (a whole number of pixels)")
    theirs = [pair for pair in settings if not pair.startswith("side=")]
    return inner + ("?" + "&".join(theirs) if theirs else ""), int(sides[0])


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps([*parts, VERSION]).encode()).hexdigest()


DATASETS = {"resized": read}
