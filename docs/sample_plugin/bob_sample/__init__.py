"""Mean colours (``sample:4``), nearest class means (``sample.class_means``) and tinted noise (``sample_tints``)."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass
from torch import nn

from backbones.adapters.user_file import PlainModule
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.weights import weights_sha256
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.parts import is_seeded, learning_refusal
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.manifest import Item
from tasks.datasets.partition import partition
from tasks.datasets.sources import MemoryFiles
from tasks.features import features_of

TINTS = {"red": (150, 110, 110), "green": (110, 150, 110), "blue": (110, 110, 150)}


def load_backbone(reference: str, places: Places) -> Backbone:
    name, model = f"sample:{reference}", nn.Sequential(nn.AdaptiveAvgPool2d(int(reference)), nn.Flatten())
    card = Card(
        name, "pixels", "mean colours", 0, "none", "none", "bob-sample", "1", "mit", weights_sha256(model, name)
    )
    return PlainModule(model, card, Preprocess((32, 32), 32, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3))


@dataclass(frozen=True)
class ClassMeans(Task):
    name: ClassVar[str] = "sample.class_means"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"

    def uses_seed(self, data: Data) -> bool:
        return is_seeded(data["dataset"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        return learning_refusal(data["dataset"][0])

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        parts = partition(data["dataset"][0], seed)
        train, test = (features_of(backbone, part, tools.extract) for part in (parts.train, parts.test))
        means = np.stack([train[parts.train.labels == label].mean(0) for label in np.unique(parts.train.labels)])
        nearest = np.unique(parts.train.labels)[np.linalg.norm(test[:, None] - means, axis=2).argmin(1)]
        right = (nearest == parts.test.labels).astype(float)
        yield Score("top1", float(right.mean()), per_sample=right)
        yield Outputs({"item": np.asarray(parts.test.names), "predicted": nearest})


def read_tints(reference: str, options: OpenOptions) -> Dataset:
    noise = np.random.default_rng(0).integers(-90, 91, (20, 8, 8, 3))
    images = {f"{tint}/{n}.png": TINTS[tint] + noise[n] for tint in TINTS for n in range(len(noise))}
    files = MemoryFiles("sample_tints", {name: encode_png(image.astype(np.uint8)) for name, image in images.items()})
    items = [Item("all", name.partition("/")[0], name, name) for name in images]
    return assemble(Found("sample_tints", files, items, tuple(TINTS), "drawn here", made_here=True), options)
