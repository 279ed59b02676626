"""Case 19: constant and all-zero features give finite metrics at chance, with a warning."""

import numpy as np
import pytest
import torch

from backbones.base import Backbone, Card
from tasks.base import Note, Score, Task, Tools
from tasks.classification.few_shot import FewShot
from tasks.classification.head import OwnHead
from tasks.classification.knn import NearestNeighbours
from tasks.classification.linear import LinearProbe
from tasks.datasets.base import Dataset, Split
from tasks.ood.shift import Shift
from tasks.retrieval.retrieval import Retrieval

CLASSES = tuple("abcdefgh")
TASKS = [LinearProbe(strengths=3), NearestNeighbours(k=20), FewShot(draws=2, strengths=3), Retrieval()]
TASKS += [Shift(strengths=3), OwnHead()]


class Constant(Backbone):
    card = Card("constant", "random", "none", 0, "none", "none", "tests", "0", "none", "0")
    classes = CLASSES

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("never run")

    def feature_maps(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        raise AssertionError("never run")

    def layers(self) -> list[tuple[str, list[torch.nn.Parameter]]]:
        return []

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("never run")


class Named:
    """Images that have names only."""

    def __init__(self, count: int) -> None:
        self.identity = str(id(self))
        self.names = [f"{row}.png" for row in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        raise AssertionError("never read")


def dataset(name: str) -> Dataset:
    labels = np.arange(160, dtype=np.int64) % 8
    splits = {split: Split(Named(160), labels, tuple(map(str, range(160)))) for split in ("train", "test")}
    return Dataset(name, CLASSES, splits, "0", "none", "tests", 320, 320)


@pytest.mark.parametrize("value", [0.0, 1.0, -3e4, 1e-30, 1e30])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_constant_features_are_at_chance_and_warned_of(task: Task, value: float) -> None:
    home, away = dataset("home"), dataset("away")
    roles = {"train": [home], "test": [away]} if "train" in task.roles else {"dataset": [home]}

    def extract(backbone: Backbone, images: Named, layer: str) -> np.ndarray:
        return np.full((len(images), 8), value, np.float32)

    yielded = list(task.run(Constant(), roles, Tools(extract), seed=0))
    scores = {one.metric: one.value for one in yielded if isinstance(one, Score)}
    assert np.isfinite(list(scores.values())).all()
    if task.name == "retrieval":
        assert scores["precision@1"] == pytest.approx(19 / 159)
    else:
        assert scores[task.headline] == pytest.approx(1 / 8)
    assert any(isinstance(one, Note) and one.warning and "collapsed" in one.name for one in yielded)
