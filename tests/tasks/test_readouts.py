"""Readouts as protocol: fixed or chosen on val, never by the test part, and told in the record."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.base import Note, Score, Task, Tools
from tasks.classification.few_shot import FewShot
from tasks.classification.knn import NearestNeighbours
from tasks.classification.linear import LinearProbe
from tasks.ood.shift import Shift
from tasks.readouts import readouts_of
from tasks.retrieval.retrieval import Retrieval


def seen_at(readout: str, identity: str, features: np.ndarray) -> np.ndarray:
    """``good`` has the features, ``tempting`` has them in the test part alone, anything else nowhere."""
    whole = readout == "good" or (readout == "tempting" and identity.endswith("/test"))
    return features if whole else np.random.default_rng(0).normal(size=features.shape).astype(np.float32)


@pytest.fixture
def layered(world: Any) -> Any:
    """A backbone with two readouts more."""

    class Layered(type(world.nobody)):  # type: ignore[misc]
        readouts = ("tempting", "good")

        def read(self, images: Any, readout: str) -> Any:
            raise AssertionError("a task never runs the backbone itself")

    return Layered()


@pytest.fixture
def asked(world: Any, blobs: Any, layered: Any) -> Any:
    """``asked(task)`` puts it to the layered backbone, whose features differ by readout: its notes and scores."""
    sizes = {"train": 60, "val": 30, "test": 60}
    parts = {name: blobs(rows, 3, seed, distance=2.0) for seed, (name, rows) in enumerate(sizes.items())}
    dataset = world.dataset("d", ("a", "b", "c"), parts)
    other = world.dataset("o", ("a", "b", "c"), {"test": blobs(30, 3, 7, distance=2.0)})

    def extract(backbone: Any, images: Any, layer: str) -> np.ndarray:
        return seen_at(layer, images.identity, world.features[images.identity])

    def ask(task: Task) -> dict[str, Any]:
        data = {"train": [dataset], "test": [other]} if isinstance(task, Shift) else {"dataset": [dataset]}
        assert task.refusal(layered, data) is None
        answers = list(task.run(layered, data, Tools(extract), 0))
        notes = {each.name: each.value for each in answers if isinstance(each, Note)}
        return notes | {each.metric: each.value for each in answers if isinstance(each, Score)}

    return ask


CHOOSING = [LinearProbe, NearestNeighbours, pytest.param(FewShot, marks=pytest.mark.slow), Shift]


@pytest.mark.parametrize("kind", CHOOSING)
def test_val_chooses_the_readout_and_the_record_says_what_it_gained(kind: Any, asked: Any) -> None:
    answers = asked(kind(select="val"))
    assert answers["readout"] == "good"
    assert answers["readout_trials"] == 3
    assert set(answers["readout_on_val"]) == {"pooled", "tempting", "good"}
    assert answers["readout_gain_on_val"] > 0.3
    assert answers[kind.headline] > 0.85


@pytest.mark.parametrize("kind", CHOOSING)
def test_the_budget_is_the_same_for_every_backbone(kind: Any, asked: Any) -> None:
    answers = asked(kind(select="val", trials=2))
    assert answers["readout_trials"] == 2
    assert "good" not in answers["readout_on_val"]


@pytest.mark.parametrize("kind", [*CHOOSING, Retrieval])
def test_a_fixed_readout_is_read_and_an_unknown_one_is_refused(kind: Any, asked: Any, world: Any, layered: Any) -> None:
    assert asked(kind(readout="good"))[kind.headline] > asked(kind())[kind.headline] + 0.2
    why = kind(readout="better").refusal(layered, {"dataset": [], "train": [], "test": []})
    assert why == "nobody has no readout 'better'; there are: pooled, tempting, good, gem"
    assert readouts_of(world.nobody) == ("pooled",)


def test_a_backbone_of_one_readout_spends_one_trial(world: Any, blobs: Any) -> None:
    parts = {name: blobs(30, 3, seed) for seed, name in enumerate(["train", "val", "test"])}
    answers = world.run(LinearProbe(select="val"), dataset=world.dataset("d", ("a", "b", "c"), parts))
    assert answers.notes["readout"].value == "pooled"
    assert "readout_trials" not in answers.notes


def test_no_trials_is_a_mistake() -> None:
    with pytest.raises(ValidationError):
        LinearProbe(select="val", trials=0)
