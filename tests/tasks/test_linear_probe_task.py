"""The linear probe and few-shot tasks against scikit-learn, and on what they must never look at."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tasks.classification.few_shot import FewShot, drawn, folds
from tasks.classification.linear import LinearProbe
from tasks.datasets.partition import partition

CLASSES = tuple("abcdefg")


def test_scores_are_those_of_scikit_learn_at_the_chosen_strength(world, blobs) -> None:
    train, val, test = blobs(280, 7, 1), blobs(140, 7, 2), blobs(700, 7, 3)
    dataset = world.dataset("d", CLASSES, {"train": train, "val": val, "test": test})
    answers = world.run(LinearProbe(), dataset=dataset)
    strength = answers.notes["strength"].value
    features, labels = np.concatenate([train[0], val[0]]), np.concatenate([train[1], val[1]])
    scaler = StandardScaler().fit(features)
    rival = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-8, max_iter=5000)
    rival.fit(scaler.transform(features), labels)
    chances = rival.predict_proba(scaler.transform(test[0]))
    assert answers["top1"] == pytest.approx((chances.argmax(1) == test[1]).mean(), abs=0.003)
    assert answers["nll"] == pytest.approx(-np.log(chances[np.arange(700), test[1]]).mean(), abs=0.002)
    assert answers["top5"] > answers["top1"] > 0.5
    table = answers.outputs["test"]
    assert (table["prediction"] == chances.argmax(1)).mean() > 0.99
    assert table["item"][3] == "test/00003.png"


def test_the_strength_is_the_best_on_val(world, blobs) -> None:
    dataset = world.dataset("d", CLASSES, {"train": blobs(140, 7, 1), "val": blobs(140, 7, 2), "test": blobs(70, 7, 3)})
    notes = world.run(LinearProbe(strengths=8), dataset=dataset).notes
    best = max(notes["val_top1"].value.values())
    assert notes["val_top1"].value[f"{notes['strength'].value:.3g}"] == best


def test_features_scale_does_not_matter(world, blobs) -> None:
    splits = {"train": blobs(140, 7, 1), "val": blobs(140, 7, 2), "test": blobs(700, 7, 3)}
    scaled = {name: ((x * 1000 + 50).astype(np.float32), y) for name, (x, y) in splits.items()}
    first = world.run(LinearProbe(), dataset=world.dataset("one", CLASSES, splits))
    second = world.run(LinearProbe(), dataset=world.dataset("two", CLASSES, scaled))
    assert first["nll"] == pytest.approx(second["nll"], abs=2e-3)


def test_the_test_part_decides_nothing(world, blobs) -> None:
    train, test = blobs(210, 7, 1), blobs(140, 7, 2)
    other = (test[0][::-1].copy(), test[1])
    one = world.run(LinearProbe(strengths=6), dataset=world.dataset("one", CLASSES, {"train": train, "test": test}))
    two = world.run(LinearProbe(strengths=6), dataset=world.dataset("two", CLASSES, {"train": train, "test": other}))
    assert one.notes["val_top1"].value == two.notes["val_top1"].value
    np.testing.assert_allclose(one.outputs["test"]["confidence"], two.outputs["test"]["confidence"][::-1], rtol=1e-5)


def test_an_edge_of_the_grid_is_warned_of(world, blobs) -> None:
    dataset = world.dataset("d", CLASSES, {"train": blobs(210, 7, 1), "test": blobs(70, 7, 2)})
    notes = world.run(LinearProbe(strengths=2, weakest=5, strongest=10), dataset=dataset).notes
    assert notes["strength_at_edge"].warning


def test_the_seed_matters_only_where_val_is_carved(world, blobs) -> None:
    splits = {"train": blobs(140, 7, 1), "test": blobs(70, 7, 3)}
    assert LinearProbe().uses_seed({"dataset": [world.dataset("d", CLASSES, splits)]})
    splits["val"] = blobs(70, 7, 2)
    assert not LinearProbe().uses_seed({"dataset": [world.dataset("d", CLASSES, splits)]})


@pytest.mark.parametrize("wrong", [{"strengths": 0}, {"weakest": 2, "strongest": 1}, {"learning_rate": 1}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        LinearProbe(**wrong)


@pytest.mark.parametrize("shots", [0, 1.0, -0.5, True])
def test_wrong_shots_are_refused(shots: float) -> None:
    with pytest.raises(ValidationError):
        FewShot(shots=shots)


def test_draws_are_nested_seeded_and_balanced() -> None:
    labels = np.repeat(np.arange(4), 30)
    few, many = drawn(labels, 2, 0, 0), drawn(labels, 5, 0, 0)
    assert set(few) <= set(many)
    assert np.bincount(labels[many]).tolist() == [5] * 4
    assert drawn(labels, 5, 0, 0).tolist() == many.tolist()
    assert drawn(labels, 5, 0, 1).tolist() != many.tolist() != drawn(labels, 5, 1, 0).tolist()
    assert np.bincount(labels[drawn(labels, 0.1, 0, 0)]).tolist() == [3] * 4
    assert np.bincount(labels[drawn(labels, 0.001, 0, 0)]).tolist() == [1] * 4


def test_more_shots_are_better_and_scores_are_means_over_draws(world, blobs) -> None:
    dataset = world.dataset("d", CLASSES, {"train": blobs(420, 7, 1), "test": blobs(350, 7, 2)})
    one, ten = (world.run(FewShot(shots=shots, draws=3, strengths=6), dataset=dataset) for shots in (1, 10))
    assert ten["top1"] > one["top1"] > 1 / 7
    assert one["top1"] == pytest.approx(np.mean(one.notes["top1_by_draw"].value))
    assert one.notes["strengths"].value == [0.01] * 3
    assert one.notes["images_drawn"].value == 7
    assert {"prediction_0", "prediction_2", "correct"} <= set(one.outputs["test"])


def test_folds_hold_every_image_out_once_and_never_a_class_whole() -> None:
    labels = np.array([0] * 5 + [1] * 3 + [2])
    fold = folds(labels, seed=1)
    assert np.bincount(fold[labels == 0]).tolist() == [1] * 5
    assert len(set(fold[labels == 1])) == 3
    assert fold[labels == 2].tolist() == [-1]
    for part in range(5):
        assert set(labels[fold != part]) == {0, 1, 2}
    assert set(folds(np.repeat([0, 1], 2), seed=0)) == {0, 1}
    assert set(folds(np.arange(4), seed=0)) == {-1}


def test_the_strength_of_a_draw_is_the_best_over_its_folds(world, blobs) -> None:
    """Against scikit-learn at each strength on each fold: the chosen one is right most often, counted over all."""
    features, labels = blobs(35, 7, 4)
    dataset = world.dataset("d", CLASSES, {"train": (features, labels), "test": blobs(70, 7, 2)})
    task = FewShot(shots=100, draws=1, strengths=4)
    chosen = world.run(task, dataset=dataset).notes["strengths"].value[0]
    parts = partition(dataset, 0)
    rows = np.concatenate([parts.train.rows, parts.val.rows])
    x, y = features[rows], labels[rows]
    fold = folds(y, 0)
    right = dict.fromkeys(task.grid(), 0)
    for strength in right:
        for part in range(5):
            known, held = fold != part, fold == part
            scaler = StandardScaler().fit(x[known])
            rival = LogisticRegression(C=1 / (strength * known.sum()), tol=1e-8, max_iter=5000)
            rival.fit(scaler.transform(x[known]), y[known])
            right[strength] += int((rival.predict(scaler.transform(x[held])) == y[held]).sum())
    assert min(right.values()) < max(right.values())
    assert right[chosen] == max(right.values())
