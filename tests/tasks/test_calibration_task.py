"""Calibration at home and abroad: temperature from held-out images alone, classes by name, refusals in words."""

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.classification.metrics import negative_log_likelihood
from tasks.classification.temperature import fit_temperature
from tasks.ood.calibration import HOME, Calibration

CLASSES = tuple("abcde")
BEFORE = ("nll", "brier", "ece", "adaptive_ece", "classwise_ece", "rms_ce")


def home(world, blobs, distance: float = 0.5):
    splits = {"train": (200, 1), "val": (200, 2), "test": (1600, 3)}
    return world.dataset("home", CLASSES, {s: blobs(n, 5, seed, distance=distance) for s, (n, seed) in splits.items()})


def test_a_temperature_from_val_mends_an_overconfident_probe(world, blobs) -> None:
    """Hardly regularised on 200 images of 16 dims, a probe is far too sure."""
    answers = world.run(Calibration(strengths=1, weakest=1e-6, strongest=1e-6), train=home(world, blobs))
    assert answers.notes["temperature"].value > 1.3
    for metric in BEFORE:
        assert answers.value(f"scaled_{metric}", HOME) < answers.value(metric, HOME)
    assert answers.value("scaled_rms_ce", HOME) < 0.04
    assert answers.value("rms_ce", HOME) > 0.1
    on_val = answers.notes["nll_on_val"].value
    assert on_val["after"] < on_val["before"]
    columns = answers.outputs[HOME]
    assert (columns["scaled_confidence"] <= columns["confidence"]).all()
    assert columns["correct"].mean() == pytest.approx(answers.value("top1", HOME))
    assert set(answers.outputs) == {HOME}


def test_test_labels_move_no_temperature(world, blobs) -> None:
    data = home(world, blobs)
    first = world.run(Calibration(strengths=3), train=data)
    data.splits["test"].labels[:] = 0
    second = world.run(Calibration(strengths=3), train=data)
    assert first.notes["temperature"].value == second.notes["temperature"].value
    assert first.value("ece", HOME) != second.value("ece", HOME)


def test_abroad_the_shared_classes_compete_at_the_same_temperature(world, blobs) -> None:
    features, labels = blobs(300, 5, 4)
    away = world.dataset("away", ("zebra", "c", "a"), {"all": (features, np.array([2, 0, 1, 0, 0])[labels])})
    answers = world.run(Calibration(strengths=3), train=home(world, blobs), test=[away])
    assert answers.notes["classes:away"].value == ["a", "c"]
    assert answers.notes["left_out:away"].warning
    columns = answers.outputs["away"]
    assert len(columns["item"]) == 120
    temperature = answers.notes["temperature"].value
    assert (columns["confidence"] > 0.5).all()
    odds = np.log(columns["confidence"] / (1 - columns["confidence"])) / temperature
    assert columns["scaled_confidence"] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-4)


def test_the_own_head_is_fitted_on_one_half_and_tested_on_the_other(world) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 6)).astype(np.float32) * 4
    chances = np.exp(logits[:, [3, 0, 1]] / 8)
    labels = ((chances / chances.sum(1, keepdims=True)).cumsum(1) > generator.random((200, 1))).argmax(1)
    data = world.dataset("d", ("bird", "cat", "dog"), {"val": (logits, labels)})
    backbone = world.headed(("cat", "dog", "fish", "bird", "cow", "ant"))
    answers = world.run(Calibration(classifier="own"), backbone=backbone, train=data)
    tested = {int(name.split("/")[1][:5]) for name in answers.outputs[HOME]["item"]}
    rest = np.array(sorted(set(range(200)) - tested))
    assert len(tested) == answers.notes["temperature_images"].value == 100
    expected = fit_temperature(logits[rest][:, [0, 1, 3]], np.array([2, 0, 1])[labels[rest]])
    assert answers.notes["temperature"].value == pytest.approx(expected.value)
    assert answers.notes["temperature"].value == pytest.approx(8, rel=0.5)
    ours = np.array(sorted(tested))
    by_hand = negative_log_likelihood(logits[ours][:, [0, 1, 3]] / expected.value, np.array([2, 0, 1])[labels[ours]])
    assert answers.value("scaled_nll", HOME) == pytest.approx(by_hand.mean())


def test_the_own_head_takes_an_official_val(world) -> None:
    generator = np.random.default_rng(0)
    parts = {split: (generator.normal(size=(n, 3)).astype(np.float32), np.arange(n) % 3)
             for split, n in (("val", 30), ("test", 60))}  # fmt: skip
    data = world.dataset("d", ("a", "b", "c"), parts)
    answers = world.run(Calibration(classifier="own"), backbone=world.headed(("a", "b", "c")), train=data)
    assert len(answers.outputs[HOME]["item"]) == 60
    assert answers.notes["temperature_images"].value == 30
    assert answers.notes["val_part"].value == "official"


def test_val_without_a_mistake_is_said_and_stays_finite(world, blobs) -> None:
    answers = world.run(Calibration(strengths=1, weakest=1e-3, strongest=1e-3), train=home(world, blobs, distance=6))
    assert answers.notes["temperature_at_bound"].warning
    assert "no calibration" in answers.notes["temperature_at_bound"].value


def test_refusals(world, blobs) -> None:
    data, task = home(world, blobs), Calibration()
    away = world.dataset("away", ("x", "y"), {"all": blobs(20, 2, 3)})
    why = task.refusal(world.nobody, {"train": [data], "test": [away]}) or ""
    assert "it has x, y; the classifier of 'home' has a, b, c, d, e" in why
    assert "differ" in (task.refusal(world.nobody, {"train": [data], "test": [data]}) or "")
    assert task.refusal(world.nobody, {"train": [data]}) is None
    own = Calibration(classifier="own")
    assert "no classifier head" in (own.refusal(world.nobody, {"train": [data], "test": []}) or "")
    one = world.dataset("one", ("a", "b"), {"test": blobs(1, 1, 0)})
    assert "cannot be halved" in (own.refusal(world.headed(("a", "b")), {"train": [one]}) or "")
    foreign = own.refusal(world.headed(("x", "y")), {"train": [data]}) or ""
    assert "fewer than two classes with the checkpoint's head" in foreign
    with pytest.raises(ValidationError, match="leave readout and select out"):
        Calibration(classifier="own", readout="layer3/mean")


def test_nan_features_are_no_calibration(world, blobs) -> None:
    data = home(world, blobs)
    world.features["home/test"][3, 2] = np.nan
    with pytest.raises(FloatingPointError, match="test/00003"):
        world.run(Calibration(strengths=2), train=data)
