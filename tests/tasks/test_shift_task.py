"""Distribution shift: classes matched by name, the same classes at home and abroad."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

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


def test_a_class_that_is_any_of_several_has_the_score_of_the_best_at_home_as_abroad(world, blobs) -> None:
    """The same question put by renaming the labels of both sides by hand."""
    home = world.dataset("home", CLASSES[:5], {"train": blobs(150, 5, 1), "test": blobs(100, 5, 2)})
    features, labels = blobs(100, 5, 3)
    coarse = np.array([1, 0, 1, 2, 0])[labels]  # b or e, a or c, d
    away = world.dataset("away", ("b|e", "a|c", "d|unheard"), {"test": (features, coarse)})
    answers = world.run(Shift(strengths=3), train=home, test=[away])
    fine = world.run(
        Shift(strengths=3), train=home, test=[world.dataset("fine", CLASSES[:5], {"test": blobs(100, 5, 3)})]
    )

    def right(split: str, columns) -> float:
        group = np.array([0, 1, 0, 2, 1])
        return float(np.mean(group[columns["prediction"]] == group[columns["label"]]))

    assert answers.value("top1", "away") == pytest.approx(right("fine", fine.outputs["fine"]))
    assert answers.value("id_top1", "away") == pytest.approx(right(HOME, fine.outputs[HOME]))
    assert answers.value("top1", "away") > fine.value("top1", "fine")
    assert answers.notes["classes:away"].value == ["a|c", "b|e", "d|unheard"]


def test_an_output_that_stands_for_two_classes_is_refused(world, blobs) -> None:
    home = world.dataset("home", CLASSES[:3], {"train": blobs(30, 3, 1), "test": blobs(30, 3, 2)})
    away = world.dataset("away", ("a|b", "b|c"), {"test": blobs(30, 2, 3)})
    why = Shift().refusal(world.nobody, {"train": [home], "test": [away]}) or ""
    assert why == "'b' stands for two classes, 'a|b' and 'b|c'"


def grouped(dataset, groups: list[str]):
    (split,) = dataset.splits
    return replace(dataset, splits={split: replace(dataset.splits[split], groups=tuple(groups))})


def test_the_worst_group_and_the_mean_over_groups(world, blobs) -> None:
    home = world.dataset("home", CLASSES[:3], {"train": blobs(210, 3, 1), "test": blobs(60, 3, 2)})
    features, labels = blobs(120, 3, 3)
    groups = np.array(["north"] * 60 + ["south"] * 30 + ["tiny"] * 9 + [""] * 21)
    spoilt = np.isin(groups, ["south", "tiny", ""])
    noise = np.random.default_rng(0).normal(size=features.shape) * np.where(groups == "south", 2, 9)[:, None]
    features = (features + noise * spoilt[:, None]).astype(np.float32)
    away = grouped(world.dataset("away", CLASSES[:3], {"test": (features, labels)}), groups.tolist())
    answers = world.run(Shift(strengths=3), train=home, test=[away])
    columns = answers.outputs["away"]
    assert columns["group"].tolist() == groups.tolist()
    share = {name: columns["correct"][groups == name].mean() for name in ("north", "south", "tiny", "")}
    assert share["south"] < share["north"]
    assert min(share["tiny"], share[""]) < share["south"], "what does not count would be the worst"
    assert answers.value("worst_group", "away") == pytest.approx(share["south"])
    assert answers.value("mean_per_group", "away") == pytest.approx((share["south"] + share["north"]) / 2)
    f1 = f1_score(columns["label"], columns["prediction"], average="macro")
    assert answers.value("macro_f1", "away") == pytest.approx(f1)
    balanced = np.mean([columns["correct"][columns["label"] == label].mean() for label in range(3)])
    assert answers.value("mean_per_class", "away") == pytest.approx(balanced)
    told = {"group": "south", "images": 30, "groups": 2, "too small": 1}
    assert answers.notes["worst_group:away"].value == told


def test_groups_follow_their_images_where_some_are_left_out(world, blobs) -> None:
    home = world.dataset("home", CLASSES[:3], {"train": blobs(210, 3, 1), "test": blobs(60, 3, 2)})
    away = world.dataset("away", ("zebra", "b", "a"), {"test": blobs(60, 3, 3)})
    names = [f"group of {label}" for label in away.splits["test"].labels.tolist()]
    answers = world.run(Shift(strengths=3), train=home, test=[grouped(away, names)])
    columns = answers.outputs["away"]
    assert {(group, label) for group, label in zip(columns["group"], columns["label"], strict=True)} == {
        ("group of 2", 0),
        ("group of 1", 1),
    }


def test_groups_that_are_all_too_small_are_told(world, blobs) -> None:
    home = world.dataset("home", CLASSES[:3], {"train": blobs(210, 3, 1), "test": blobs(60, 3, 2)})
    away = grouped(world.dataset("away", CLASSES[:3], {"test": blobs(60, 3, 3)}), [str(row // 9) for row in range(60)])
    answers = world.run(Shift(strengths=3), train=home, test=[away])
    assert ("worst_group", "away") not in answers.scores
    assert answers.notes["worst_group:away"].value == "none of 7 groups has 10 images"
