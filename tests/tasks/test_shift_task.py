"""Distribution shift: classes matched by name, the same classes at home and abroad."""

import numpy as np
import pytest

from tasks.classification.linear import LinearProbe
from tasks.ood.shift import HOME, Shift

CLASSES = tuple("abcdefg")


def test_home_is_the_linear_probe_and_abroad_is_matched_by_name(world, blobs) -> None:
    home = world.dataset("home", CLASSES, {"train": blobs(210, 7, 1), "test": blobs(350, 7, 2)})
    features, labels = blobs(350, 7, 3)
    kept = labels >= 3
    renamed = {3: 2, 4: 0, 5: 3, 6: 1}
    away = world.dataset(
        "away", ("e", "g", "d", "f"), {"all": (features[kept], np.array([renamed[label] for label in labels[kept]]))}
    )
    noisy = (features + np.random.default_rng(0).normal(size=features.shape) * 3).astype(np.float32)
    worse = world.dataset("worse", CLASSES, {"test": (noisy, labels)})
    answers = world.run(Shift(strengths=6), train=home, test=[away, worse])
    probe = world.run(LinearProbe(strengths=6), dataset=home)
    assert answers.value("top1", HOME) == probe["top1"]
    assert answers.value("top1", "away") > 0.6
    assert abs(answers.value("drop", "away")) < 0.08
    assert answers.value("drop", "worse") == pytest.approx(answers.value("top1", HOME) - answers.value("top1", "worse"))
    assert answers.value("drop", "worse") > 0.2
    shares = [answers.value(metric, "worse") for metric in ("top1", "id_top1")]
    gap = np.subtract(*[np.log(share / (1 - share)) for share in shares])
    assert answers.value("effective_robustness", "worse") == pytest.approx(gap)
    assert answers["ood_top1"] == pytest.approx(np.mean([answers.value("top1", name) for name in ("away", "worse")]))
    assert answers.notes["classes:away"].value == ["d", "e", "f", "g"]
    assert answers.notes["test_part:away"].value == "every image, since there are no splits"
    assert answers.notes["test_part:worse"].value == "official"


def test_items_of_the_mean_over_sets_are_named_and_tell_whose_they_are(world, blobs) -> None:
    """Backbones are compared by them image by image."""
    home = world.dataset("home", CLASSES[:3], {"train": blobs(210, 3, 1), "test": blobs(60, 3, 2)})
    sets = [world.dataset(name, CLASSES[:3], {"all": blobs(rows, 3, rows)}) for name, rows in [("x", 30), ("y", 60)]]
    answers = world.run(Shift(strengths=3), train=home, test=sets)
    names, items = answers.outputs["test"]["item"], answers.scores["ood_top1", "test"].per_sample
    assert len(set(names)) == len(names) == len(items) == 90
    for name in ("x", "y"):
        own = np.array([item.startswith(f"{name}/") for item in names])
        assert [item.removeprefix(f"{name}/") for item in names[own]] == list(answers.outputs[name]["item"])
        assert ((items[own] > 0) == answers.outputs[name]["correct"]).all()
        assert items[own].sum() / len(items) * 2 == pytest.approx(answers.value("top1", name))


def test_images_of_unlearnt_classes_are_left_out_and_counted(world, blobs) -> None:
    home = world.dataset("home", CLASSES[:3], {"train": blobs(210, 3, 1), "test": blobs(60, 3, 2)})
    away = world.dataset("away", ("a", "b", "zebra"), {"all": blobs(60, 3, 3)})
    answers = world.run(Shift(strengths=3), train=home, test=[away])
    assert answers.notes["left_out:away"].warning
    assert len(answers.outputs["away"]["item"]) == 40


def test_refusals_name_both_lists(world, blobs) -> None:
    home = world.dataset("home", ("a", "b"), {"train": blobs(20, 2, 1), "test": blobs(20, 2, 2)})
    away = world.dataset("away", ("c", "d"), {"all": blobs(20, 2, 3)})
    why = Shift().refusal(world.nobody, {"train": [home], "test": [away]}) or ""
    assert "it has c, d; the probe learns a, b" in why
    assert "differ" in (Shift().refusal(world.nobody, {"train": [home], "test": [home, home]}) or "")
