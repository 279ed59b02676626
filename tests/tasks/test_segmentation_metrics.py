"""Counts of pixels against scikit-learn, torchmetrics, loops over pixels, and images that are really drawn again."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score
from torchmetrics.classification import MulticlassJaccardIndex

from bob.answers import outputs_table
from tasks.base import Note, Outputs, Score
from tasks.datasets.label_maps import VOID
from tasks.segmentation.confusion import Counts, confusion, counts_of, miou_difference, table_of
from tasks.segmentation.report import report

CLASSES = 6
NAMES = ("sky", "road", "tree", "car", "dog", "never")
Maps = list[np.ndarray]


def maps(images: int = 9, seed: int = 0, right: float = 0.6) -> tuple[Maps, Maps]:
    """Truth and predictions of several sizes: no pixel is of the last class, which is predicted now and then."""
    generator = np.random.default_rng(seed)
    truth, predicted = [], []
    for _ in range(images):
        size = tuple(generator.integers(5, 12, 2))
        here = generator.choice(CLASSES - 1, 3, replace=False)
        labels = generator.choice([*here, VOID], size).astype(np.uint8)
        guess = generator.integers(0, CLASSES, size)
        kept = (generator.random(size) < right) & (labels != VOID)
        truth.append(labels)
        predicted.append(np.where(kept, labels, guess).astype(np.uint8))
    return truth, predicted


def counted(truth: Maps, predicted: Maps) -> Counts:
    return Counts.of(confusion(one, other, CLASSES) for one, other in zip(truth, predicted, strict=True))


def flat(truth: Maps, predicted: Maps) -> tuple[np.ndarray, np.ndarray]:
    known, guessed = (np.concatenate([each.ravel() for each in some]) for some in (truth, predicted))
    return known[known != VOID], guessed[known != VOID]


def test_confusion_is_that_of_scikit_learn_and_of_a_loop() -> None:
    truth, predicted = maps()
    for one, other in zip(truth, predicted, strict=True):
        slow = np.zeros((CLASSES, CLASSES), np.int64)
        for label, guess in zip(one.ravel(), other.ravel(), strict=True):
            if label != VOID:
                slow[label, guess] += 1
        np.testing.assert_array_equal(confusion(one, other, CLASSES), slow)
        theirs = confusion_matrix(*flat([one], [other]), labels=range(CLASSES))
        np.testing.assert_array_equal(confusion(one, other, CLASSES), theirs)


def test_scores_are_those_of_scikit_learn_and_torchmetrics() -> None:
    truth, predicted = maps()
    known, guessed = flat(truth, predicted)
    counts = counted(truth, predicted)
    miou, mean_accuracy, pixel_accuracy, *by_class = counts.values()
    asked = list(range(CLASSES - 1))
    assert counts.asked.tolist() == [True] * 5 + [False]
    assert (guessed == CLASSES - 1).any()
    np.testing.assert_allclose(by_class, jaccard_score(known, guessed, labels=asked, average=None), rtol=1e-12)
    assert miou == pytest.approx(jaccard_score(known, guessed, labels=asked, average="macro"), rel=1e-12)
    assert mean_accuracy == pytest.approx(recall_score(known, guessed, labels=asked, average="macro"), rel=1e-12)
    assert pixel_accuracy == pytest.approx((known == guessed).mean(), rel=1e-12)
    theirs = MulticlassJaccardIndex(CLASSES, average="none", ignore_index=VOID)
    for one, other in zip(truth, predicted, strict=True):
        theirs.update(torch.from_numpy(other).long().flatten(), torch.from_numpy(one).long().flatten())
    np.testing.assert_allclose(by_class, theirs.compute()[asked], rtol=1e-6)


def test_images_that_count_twice_are_images_that_are_there_twice() -> None:
    truth, predicted = maps()
    counts, generator = counted(truth, predicted), np.random.default_rng(3)
    compared = 0
    for _ in range(20):
        drawn = generator.integers(0, len(truth), len(truth))
        again = counted([truth[at] for at in drawn], [predicted[at] for at in drawn])
        if again.asked.sum() == counts.asked.sum():
            weights = np.bincount(drawn, minlength=len(truth))[None].astype(float)
            np.testing.assert_allclose(counts.metrics(weights)[:, 0], again.values(), rtol=1e-12)
            compared += 1
    assert compared > 10


def test_a_class_that_is_not_drawn_keeps_the_set_of_classes() -> None:
    """Class 1 is in the second image only; in the draw without it, it is taken for nothing (or, once, falsely)."""
    truth = [np.array([[0, 0]], np.uint8), np.array([[1, 1, 1, 1]], np.uint8)]
    counts = counted(truth, [truth[0], np.array([[1, 1, 1, 0]], np.uint8)])
    without_second = np.array([[2.0, 0.0]])
    np.testing.assert_allclose(counts.metrics(without_second)[:, 0], [(1 + 0.75) / 2, (1 + 0.75) / 2, 1, 1, 0.75])
    falsely = counted(truth, [np.array([[0, 1]], np.uint8), truth[1]])
    np.testing.assert_allclose(falsely.metrics(without_second)[:, 0], [0.25, (0.5 + 1) / 2, 0.5, 0.5, 0])


def test_intervals_hold_the_value_and_shrink_with_images() -> None:
    few, many = (counted(*maps(images)) for images in (12, 300))
    for counts in (few, many):
        for value, (low, high) in zip(counts.values(), counts.intervals(), strict=True):
            assert low <= value <= high
    assert np.ptp(many.intervals()[0]) < 0.5 * np.ptp(few.intervals()[0])


def test_another_set_of_images_falls_into_the_interval() -> None:
    """Of 40 sets of 60 images each, the interval holds what very many images give in at least 34."""
    expected = counted(*maps(6000, seed=1000)).values()[0]
    held = 0
    for seed in range(40):
        low, high = counted(*maps(60, seed)).intervals()[0]
        held += low <= expected <= high
    assert held >= 34


def test_the_stored_table_gives_the_same_scores_and_comparisons() -> None:
    truth, predicted = maps()
    _, better = maps(right=0.9)
    counts, other = counted(truth, predicted), counted(truth, better)
    table = outputs_table([Outputs(table_of(counts, [f"{at}.png" for at in range(len(truth))]))])
    assert isinstance(table, pa.Table)
    back = counts_of(table.to_pydict(), CLASSES)
    np.testing.assert_array_equal(back.values(), counts.values())
    assert back.intervals() == counts.intervals()
    difference, (low, high) = miou_difference(other, back)
    assert difference == pytest.approx(other.values()[0] - counts.values()[0])
    assert 0 < low <= difference <= high
    assert high - low < np.ptp(other.intervals()[0]) + np.ptp(counts.intervals()[0])
    assert miou_difference(back, counts) == (0, (0, 0))
    with pytest.raises(ValueError, match="not tested on the same images"):
        miou_difference(counts, counted(*maps(seed=1)))


def test_a_row_of_the_table_is_that_image_alone() -> None:
    truth, predicted = maps()
    truth[2][:] = VOID
    table = table_of(counted(truth, predicted), [f"{at}.png" for at in range(len(truth))])
    for at in range(len(truth)):
        if at == 2:
            assert table["pixels"][at] == 0
            assert np.isnan(table["miou"][at])
            continue
        alone = counted([truth[at]], [predicted[at]]).values()
        assert (table["miou"][at], table["pixel_accuracy"][at]) == (alone[0], alone[2])


def test_the_most_frequent_class_everywhere() -> None:
    truth, predicted = maps()
    label, miou, accuracy = counted(truth, predicted).most_frequent()
    constant = counted(truth, [np.full_like(each, label) for each in truth]).values()
    assert (miou, accuracy) == (pytest.approx(constant[0]), pytest.approx(constant[2]))
    others = [counted(truth, [np.full_like(each, one) for each in truth]).values()[2] for one in range(CLASSES)]
    assert accuracy == pytest.approx(max(others))


def test_what_is_reported() -> None:
    truth, predicted = maps()
    counts = counted(truth, predicted)
    yielded = list(report(counts, NAMES, [f"{at}.png" for at in range(len(truth))]))
    scores = {one.metric: one for one in yielded if isinstance(one, Score)}
    notes = {one.name: one.value for one in yielded if isinstance(one, Note)}
    assert list(scores) == ["miou", "mean_accuracy", "pixel_accuracy", *(f"iou:{name}" for name in NAMES[:-1])]
    assert np.mean([scores[f"iou:{name}"].value for name in NAMES[:-1]]) == pytest.approx(scores["miou"].value)
    assert notes["classes_without_a_pixel"] == ["never"]
    assert notes["most_frequent_class"]["class"] == NAMES[counts.most_frequent()[0]]
    with pytest.raises(ValueError, match="no pixel of the images that are tested has a class"):
        list(report(counted([np.full((2, 2), VOID, np.uint8)], [np.zeros((2, 2), np.uint8)]), NAMES, ["0.png"]))
