"""A small world for tasks: datasets without pixels, and features handed out by image set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from torch import Tensor, nn

from backbones.base import Backbone, Card
from backbones.images import Images
from tasks.base import Extract, Note, Outputs, Score, Task, Tools
from tasks.datasets.base import Dataset, Split, Target


@dataclass(frozen=True)
class NamedImages:
    """Images that have names but no pixels."""

    identity: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        raise AssertionError("a task reads features, never images")


class Nobody(Backbone):
    """A backbone that is never run: the features are given."""

    card = Card("nobody", "random", "none", 0, "none", "none", "tests", "0", "none", "0")

    def embed(self, images: Tensor) -> Tensor:
        raise AssertionError("a task never runs the backbone itself")

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        raise AssertionError("a task never runs the backbone itself")

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return []


class Headed(Nobody):
    """The same with a head of named classes."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes

    def classify(self, images: Tensor) -> Tensor:
        raise AssertionError("a task never runs the backbone itself")


class World:
    """Makes datasets from matrices and remembers them, so that ``extract`` can hand them out."""

    nobody = Nobody()
    headed = Headed

    def __init__(self) -> None:
        self.features: dict[str, np.ndarray] = {}

    def dataset(
        self, name: str, classes: tuple[str, ...], splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
    ) -> Dataset:
        made = {}
        for split, (features, labels) in splits.items():
            images = NamedImages(f"{name}/{split}", tuple(f"{split}/{row:05}.png" for row in range(len(labels))))
            self.features[images.identity] = features
            hashes = tuple(f"{name}/{split}/{row}" for row in range(len(labels)))
            made[split] = Split(images, np.asarray(labels, dtype=np.int64), hashes)
        total = sum(map(len, made.values()))
        return Dataset(name, classes, made, name, "none", "tests", total, total)

    def targeted(
        self,
        name: str,
        target: Target,
        classes: tuple[str, ...],
        splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ) -> Dataset:
        """A dataset whose images have targets (n, k) in place of labels."""
        plain = self.dataset(name, classes, {split: (x, np.full(len(y), -1)) for split, (x, y) in splits.items()})
        made = {
            split: replace(rows, targets=np.asarray(splits[split][1], dtype=np.float32))
            for split, rows in plain.splits.items()
        }
        return replace(plain, splits=made, target=target)

    @property
    def extract(self) -> Extract:
        def found(backbone: Backbone, images: Images, layer: str) -> np.ndarray:
            return self.features[images.identity]

        return found

    def run(
        self, task: Task, seed: int = 0, backbone: Backbone | None = None, **data: Dataset | list[Dataset]
    ) -> "Answers":
        roles = {role: one if isinstance(one, list) else [one] for role, one in data.items()}
        return Answers(list(task.run(backbone or self.nobody, roles, Tools(self.extract), seed)))


class Answers:
    """What a run yielded, by name. Every score is checked against its own items."""

    def __init__(self, yielded: list[Score | Outputs | Note]) -> None:
        self.scores = {(one.metric, one.split): one for one in yielded if isinstance(one, Score)}
        self.outputs = {one.split: one.columns for one in yielded if isinstance(one, Outputs)}
        self.notes = {one.name: one for one in yielded if isinstance(one, Note)}
        assert len(self.scores) == sum(isinstance(one, Score) for one in yielded)
        for score in self.scores.values():
            assert np.isfinite(score.value)
            if score.per_sample is not None:
                assert np.mean(score.per_sample) == pytest.approx(score.value)
            if score.interval is not None:
                assert score.interval[0] <= score.value <= score.interval[1]
        for columns in self.outputs.values():
            assert len({len(column) for column in columns.values()}) == 1
            assert "item" in columns

    def __getitem__(self, metric: str) -> float:
        return self.scores[metric, "test"].value

    def value(self, metric: str, split: str) -> float:
        return self.scores[metric, split].value


@pytest.fixture
def world() -> World:
    return World()


Blobs = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def blobs() -> Blobs:
    """``blobs(rows, classes, seed)``: noisy class means, the same means for every call."""

    def make(rows: int, classes: int, seed: int, dim: int = 16, distance: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
        means = np.random.default_rng(99).normal(size=(classes, dim)) * distance
        generator = np.random.default_rng(seed)
        labels = generator.permutation(np.arange(rows) % classes)
        return (means[labels] + generator.normal(size=(rows, dim))).astype(np.float32), labels

    return make
