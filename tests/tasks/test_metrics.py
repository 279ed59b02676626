"""Classification metrics against scikit-learn and against counting by hand."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from tasks.classification.metrics import (
    expected_calibration_error,
    mean_per_class,
    negative_log_likelihood,
    refuse_invalid,
    softmax,
    top_k_correct,
)
from tasks.classification.weighted_metrics import macro_f1

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(200, 7)) * 3
LABELS = GENERATOR.integers(0, 7, 200)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_scikit_learns(k: int) -> None:
    expected = top_k_accuracy_score(LABELS, LOGITS, k=k, labels=range(7))
    assert top_k_correct(LOGITS, LABELS, k).mean() == pytest.approx(expected)


def test_ties_are_the_average_over_all_orders() -> None:
    scores, orders = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), list(itertools.permutations(range(5)))
    for label, k in itertools.product(range(5), range(1, 5)):
        hits = [label in sorted(range(5), key=lambda c, o=order: (-scores[c], o[c]))[:k] for order in orders]
        assert top_k_correct(scores[None], np.array([label]), k)[0] == pytest.approx(np.mean(hits))


def test_constant_scores_are_at_chance() -> None:
    assert top_k_correct(np.zeros((200, 7)), LABELS, 5).mean() == pytest.approx(5 / 7)


def test_mean_per_class_is_balanced_accuracy() -> None:
    correct = top_k_correct(LOGITS, LABELS, 1)
    expected = balanced_accuracy_score(LABELS, LOGITS.argmax(1))
    assert mean_per_class(correct, LABELS).mean() == pytest.approx(expected)


def test_likelihood_is_scikit_learns_and_survives_hopeless_logits() -> None:
    expected = log_loss(LABELS, softmax(LOGITS), labels=range(7))
    assert negative_log_likelihood(LOGITS, LABELS).mean() == pytest.approx(expected)
    assert negative_log_likelihood(np.array([[0.0, 1e4]]), np.array([0]))[0] == pytest.approx(1e4)


def test_calibration_error_counted_bin_by_bin() -> None:
    confidence, correct = softmax(LOGITS).max(1), top_k_correct(LOGITS, LABELS, 1)
    expected = 0.0
    for edge in range(15):
        inside = (confidence > edge / 15) & (confidence <= (edge + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0


def test_nothing_is_computed_from_nan_or_foreign_labels() -> None:
    for poison in (np.nan, np.inf, -np.inf):
        spoiled = LOGITS.copy()
        spoiled[17, 3] = poison
        for metric in (refuse_invalid, negative_log_likelihood, lambda s, y: top_k_correct(s, y, 1)):
            with pytest.raises(FloatingPointError, match="row 17"):
                metric(spoiled, LABELS)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.6, found -1\.\."):
        refuse_invalid(LOGITS, np.where(LABELS == 0, -1, LABELS))


def test_macro_f1_is_scikit_learns_for_every_draw() -> None:
    """Classes that are never predicted, never asked for, or not drawn: the mean is over those that are asked for."""
    generator = np.random.default_rng(1)
    labels, predictions = generator.integers(0, 6, 60) * 2, generator.integers(1, 9, 60)
    weights = np.stack([np.ones(60), *generator.integers(0, 2, (20, 60)), labels != 4]).astype(float)
    found = macro_f1(labels, predictions, weights)
    for draw, value in zip(weights, found, strict=True):
        asked = np.unique(labels[draw > 0])
        expected = f1_score(labels, predictions, labels=asked, average="macro", sample_weight=draw, zero_division=0)
        assert value == pytest.approx(expected)
