"""Pictures of coloured rectangles on noise with their boxes and outlines, in memory: a set a detector can learn."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.datasets.base import Dataset, Split
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.objects import Objects, no_objects

COLOURS = np.asarray([[220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)
CLASSES = ("red", "green", "blue")
SIZE = (96, 128)
NARROW: Mapping[str, Any] = {
    "pyramid_channels": 16,
    "head_width": 32,
    "training_proposals": 100,
    "proposals": 50,
    "samples": 64,
}
"""Heads that take milliseconds."""


class Pngs:
    """Encoded images in memory."""

    def __init__(self, pixels: list[np.ndarray], prefix: str) -> None:
        self.data = [encode_png(each) for each in pixels]
        self.names = [f"{prefix}/{row:03}.png" for row in range(len(pixels))]
        self.identity = hashlib.sha256(b"".join(self.data)).hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> bytes:
        return self.data[index]


def picture(seed: int, size: tuple[int, int] = SIZE, outlined: bool = True) -> tuple[np.ndarray, Objects]:
    """One to three rectangles that do not touch, a column each; every fourth picture has none."""
    chance = np.random.default_rng(seed)
    height, width = size
    pixels = chance.normal(128, 20, (height, width, 3)).clip(0, 255).astype(np.uint8)
    if seed % 4 == 3:
        return pixels, no_objects(size, outlined)
    count = int(chance.integers(1, 4))
    boxes, labels = [], chance.integers(0, len(CLASSES), count)
    for column, label in enumerate(labels):
        left = column * width // count + int(chance.integers(2, 6))
        right = left + int(chance.integers(18, width // 3 - 8))
        top = int(chance.integers(2, height // 2))
        bottom = top + int(chance.integers(18, height // 2 - 4))
        boxes.append((left, top, right, bottom))
        pixels[top:bottom, left:right] = COLOURS[label]
    corners = np.asarray(boxes, np.float32)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    outlines = tuple((outline(box),) for box in corners) if outlined else None
    return pixels, Objects(size, corners, labels.astype(np.int64), areas, np.zeros(count, bool), outlines)


def outline(box: np.ndarray) -> np.ndarray:
    """The box as a polygon."""
    left, top, right, bottom = box
    return np.asarray([left, top, right, top, right, bottom, left, bottom], np.float32)


def rectangles(train: int = 24, test: int = 12, outlined: bool = True) -> Dataset:
    """Two splits of such pictures."""
    splits = {}
    for name, count, first in (("train", train, 0), ("test", test, 1000)):
        drawn = [picture(first + row, outlined=outlined) for row in range(count)]
        images = Pngs([pixels for pixels, _ in drawn], name)
        objects = tuple(each for _, each in drawn)
        labels = np.full(count, -1, np.int64)
        splits[name] = Split(images, labels, tuple(images.names), objects=objects)
    total = train + test
    return Dataset("rectangles", CLASSES, splits, "manifest", "none", "tests", total, total, target="objects")
