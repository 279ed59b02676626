"""Drawn scenes with the class of every pixel, in memory."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backbones.base import Backbone
from backbones.training.execution import Execution
from tasks.base import Note, Outputs, Score, Tools
from tasks.datasets.base import Dataset, Split
from tasks.datasets.label_maps import VOID, LabelMaps
from tasks.datasets.lossless_png import encode_png
from tasks.segmentation.segmentation import Segmentation

CLASSES = ("ground", "disc", "square", "never")
COLOURS = np.array([[110, 120, 110], [200, 60, 50], [50, 70, 200]])
SAME = np.arange(256, dtype=np.uint8)


class Encoded:
    def __init__(self, data: Sequence[bytes], kind: str) -> None:
        self.data = list(data)
        self.names = [f"{row}{kind}.png" for row in range(len(data))]
        self.identity = hashlib.sha256(b"".join(data)).hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> bytes:
        return self.data[index]


def scene(generator: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A red disc and a blue square on grey ground, with noise; the border of the disc is of no class."""
    height, width = size
    down, across = np.mgrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    top, left, side = (int(generator.integers(0, part)) for part in (height // 2, width // 2, height // 3))
    labels[top : top + 8 + side, left : left + 8 + side] = 2
    radius = generator.uniform(height / 8, height / 4)
    distance = np.hypot(down - generator.uniform(0, height), across - generator.uniform(0, width))
    labels[distance < radius + 1] = VOID
    labels[distance < radius - 1] = 1
    coloured = COLOURS[np.where(distance < radius, 1, np.where(labels == VOID, 0, labels))]
    noisy = coloured + generator.normal(0, 20, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8), labels


def split(count: int, seed: int, size: tuple[int, int] = (56, 72), maps: Sequence[np.ndarray] | None = None) -> Split:
    """``maps`` take the place of the true ones."""
    generator = np.random.default_rng(seed)
    pixels, labels = zip(*[scene(generator, size) for _ in range(count)], strict=True)
    images = Encoded([encode_png(each) for each in pixels], "")
    stored = Encoded([_grey(each) for each in (labels if maps is None else maps)], "-map")
    return Split(images, np.full(count, -1), tuple(images.names), maps=LabelMaps(stored, SAME))


def scenes(train: int | Split = 40, test: int | Split = 12) -> Dataset:
    """So many drawn images, or these."""
    splits = {
        "train": split(train, 0) if isinstance(train, int) else train,
        "test": split(test, 1) if isinstance(test, int) else test,
    }
    total = sum(map(len, splits.values()))
    return Dataset("scenes", CLASSES, splits, "manifest", "none", "tests", total, total, target="pixels")


def answers(
    task: Segmentation, backbone: Backbone, data: Dataset, seed: int = 0, folder: Path | None = None, **execution: Any
) -> tuple[dict[str, Score], dict[str, Note], Outputs]:
    """What a run yields, by name."""

    def extract(*_: Any) -> Any:
        raise AssertionError("segmentation uses no pooled features")

    tools = Tools(extract, Execution(device="cpu", folder=folder, **{"workers": 0, **execution}))
    yielded = list(task.run(backbone, {"dataset": [data]}, tools, seed))
    (table,) = (one for one in yielded if isinstance(one, Outputs))
    scores = {one.metric: one for one in yielded if isinstance(one, Score)}
    return scores, {one.name: one for one in yielded if isinstance(one, Note)}, table


def _grey(labels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "png")
    return file.getvalue()
