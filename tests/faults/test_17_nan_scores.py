"""Case 17, metrics: one NaN or infinity in features or logits is refused before any score is yielded."""

import numpy as np
import pytest
import torch

from backbones.base import Backbone, Card
from tasks.base import Outputs, Score, Task, Tools
from tasks.classification.few_shot import FewShot
from tasks.classification.head import OwnHead
from tasks.classification.knn import NearestNeighbours
from tasks.classification.linear import LinearProbe
from tasks.datasets.base import Dataset, Split
from tasks.ood.shift import Shift
from tasks.retrieval.retrieval import Retrieval

TASKS = [LinearProbe(strengths=3), NearestNeighbours(k=3), FewShot(draws=1, strengths=3), OwnHead(), Retrieval()]
TASKS += [Shift(strengths=3)]


class Given:
    """Images that are known by their features only."""

    def __init__(self, features: np.ndarray) -> None:
        self.features = features
        self.identity = str(id(self))
        self.names = [f"{row}.png" for row in range(len(features))]

    def __len__(self) -> int:
        return len(self.features)

    def read(self, index: int) -> bytes:
        raise AssertionError("never read")


class Headed(Backbone):
    card = Card("headed", "random", "none", 0, "none", "none", "tests", "0", "none", "0")
    classes = ("a", "b", "c")

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("never run")

    def feature_maps(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        raise AssertionError("never run")

    def layers(self) -> list[tuple[str, list[torch.nn.Parameter]]]:
        return []

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("never run")


def dataset(name: str = "small", spoiled: str = "", poison: float = 0.0) -> Dataset:
    generator = np.random.default_rng(0)
    splits = {}
    for split in ("train", "test"):
        features = generator.normal(size=(12, 3)).astype(np.float32)
        if split == spoiled:
            features[4, 2] = poison
        splits[split] = Split(Given(features), np.arange(12, dtype=np.int64) % 3, tuple(map(str, range(12))))
    return Dataset(name, Headed.classes, splits, "0", "none", "tests", 24, 24)


def answer(task: Task, data: Dataset) -> list[object]:
    away = dataset("away")
    roles = {"train": [data], "test": [away]} if "train" in task.roles else {"dataset": [data]}
    yielded: list[object] = []
    try:
        for one in task.run(Headed(), roles, Tools(lambda backbone, images, layer: images.features), seed=0):
            yielded.append(one)  # noqa: PERF402 - what came before an error is the point
    except FloatingPointError as error:
        yielded.append(error)
    return yielded


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_one_bad_value_means_no_score(task: Task, split: str, poison: float) -> None:
    if split == "train" and task.name in ("classification.head", "retrieval"):
        split = "test"  # all that these two look at
    yielded = answer(task, dataset(spoiled=split, poison=poison))
    assert isinstance(yielded[-1], FloatingPointError)
    assert "'4.png'" in str(yielded[-1])
    assert not [one for one in yielded if isinstance(one, Score | Outputs)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_same_data_without_it_is_scored(task: Task) -> None:
    assert any(isinstance(one, Score) for one in answer(task, dataset()))
