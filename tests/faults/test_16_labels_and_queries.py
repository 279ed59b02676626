"""Case 16: labels out of range, one class only, k > n, queries without a right answer: a number or a named error."""

import numpy as np
import pytest
import torch

from backbones.base import Backbone, Card
from tasks.base import Note, Outputs, Score, Task, Tools
from tasks.classification.few_shot import FewShot
from tasks.classification.knn import NearestNeighbours
from tasks.classification.linear import LinearProbe
from tasks.datasets.base import Dataset, Split
from tasks.ood.shift import Shift
from tasks.retrieval.retrieval import Retrieval


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


class Nobody(Backbone):
    card = Card("nobody", "random", "none", 0, "none", "none", "tests", "0", "none", "0")

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("never run")

    def feature_maps(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        raise AssertionError("never run")

    def layers(self) -> list[tuple[str, list[torch.nn.Parameter]]]:
        return []


def dataset(labels: dict[str, list[int]], classes: int = 3) -> Dataset:
    generator = np.random.default_rng(0)
    splits = {}
    for name, values in labels.items():
        features = generator.normal(size=(len(values), 6)).astype(np.float32)
        hashes = tuple(f"{name}{row}" for row in range(len(values)))
        splits[name] = Split(Given(features), np.array(values, dtype=np.int64), hashes)
    total = sum(map(len, splits.values()))
    return Dataset("small", tuple("abcdefgh"[:classes]), splits, "0", "none", "tests", total, total)


def run(task: Task, data: Dataset, **others: Dataset) -> list[Score | Outputs | Note]:
    roles = {"dataset": [data]} if not others else {"train": [data], "test": list(others.values())}
    return list(task.run(Nobody(), roles, Tools(lambda backbone, images, layer: images.features), seed=0))


LEARNERS = [LinearProbe(strengths=3), NearestNeighbours(k=3), FewShot(shots=2, draws=2, strengths=3)]


@pytest.mark.parametrize("task", LEARNERS, ids=lambda task: task.name)
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("label", [3, -1])
def test_labels_out_of_range_are_a_named_error(task: Task, split: str, label: int) -> None:
    labels = {"train": [0, 0, 1, 1, 2, 2] * 2, "test": [0, 1, 2]}
    labels[split][0] = label
    broken = dataset(labels)
    assert "classes are 0..2" in (task.refusal(Nobody(), {"dataset": [broken]}) or "")
    with pytest.raises(ValueError, match=r"labels run .* classes are 0\.\.2"):
        run(task, broken)


@pytest.mark.parametrize("task", LEARNERS, ids=lambda task: task.name)
def test_a_single_class_is_refused(task: Task) -> None:
    with pytest.raises(ValueError, match="trains on one class only \\('b'\\)"):
        run(task, dataset({"train": [1] * 8, "test": [0, 1, 2]}))


@pytest.mark.parametrize("task", LEARNERS, ids=lambda task: task.name)
def test_a_class_of_one_image_and_a_class_only_in_test_give_numbers(task: Task) -> None:
    scores = [one for one in run(task, dataset({"train": [0] * 6 + [1] * 6 + [2], "test": [0, 1, 2, 3]}, 4))
              if isinstance(one, Score)]  # fmt: skip
    assert scores
    assert all(np.isfinite(score.value) for score in scores)


@pytest.mark.parametrize("task", LEARNERS, ids=lambda task: task.name)
def test_an_empty_split_is_refused(task: Task) -> None:
    empty = dataset({"train": [0, 0, 1, 1] * 2, "test": []})
    assert "split is empty" in (task.refusal(Nobody(), {"dataset": [empty]}) or "")


def test_more_neighbours_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="k = 20, but only 6 images"):
        run(NearestNeighbours(k=20), dataset({"train": [0, 0, 1, 1, 2, 2], "test": [0, 1, 2]}))


def test_queries_without_a_right_answer_are_left_out_and_counted() -> None:
    answers = run(Retrieval(), dataset({"query": [0, 1, 2], "gallery": [0, 1, 1]}))
    notes = {one.name: one for one in answers if isinstance(one, Note)}
    assert notes["queries_without_answer"].value == "1 of 3 queries are left out"
    assert notes["queries_without_answer"].warning
    assert all(len(one.per_sample) == 2 for one in answers if isinstance(one, Score))


def test_retrieval_without_any_right_answer_is_refused() -> None:
    for labels in ({"query": [0, 2], "gallery": [1, 1]}, {"all": [0, 1, 2]}, {"query": [], "gallery": [1]}):
        assert Retrieval().refusal(Nobody(), {"dataset": [dataset(labels)]})
        with pytest.raises(ValueError, match=r"no query has a right answer|is empty"):
            run(Retrieval(), dataset(labels))


def test_a_shift_without_common_classes_is_refused() -> None:
    home, away = dataset({"train": [0, 0, 1, 1] * 2, "test": [0, 1]}, 2), dataset({"all": [2, 2]}, 3)
    with pytest.raises(ValueError, match="shares fewer than two classes"):
        run(Shift(strengths=3), home, away=away)
