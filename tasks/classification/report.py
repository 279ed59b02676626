"""What every classification task yields from its class scores: one list of metrics, one table of items."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.base import Outputs, Score
from tasks.classification.metrics import (
    expected_calibration_error,
    mean_per_class,
    negative_log_likelihood,
    refuse_invalid,
    softmax,
    top_k_correct,
)


def report(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    items: Sequence[str],
    split: str = "test",
    calibrated: bool = True,
) -> Iterator[Score | Outputs]:
    """top1, top5 (above five classes), mean_per_class and, where ``calibrated``, nll (nats) and ece; then the items.

    ``calibrated`` says whether softmax of ``logits`` is meant as a probability; where not, ``logits`` are non-negative
    votes and a probability is a share of them. ``prediction`` is the first of tied classes, ``correct`` the
    expectation over them.
    """
    refuse_invalid(logits, labels)
    correct = top_k_correct(logits, labels, 1)
    top5 = top_k_correct(logits, labels, 5)
    chances = softmax(logits) if calibrated else logits / logits.sum(1, keepdims=True)
    confidence = chances.max(1)
    weighted = mean_per_class(correct, labels)
    yield Score("top1", float(correct.mean()), correct, split)
    if logits.shape[1] > 5:
        yield Score("top5", float(top5.mean()), top5, split)
    yield Score("mean_per_class", float(weighted.mean()), weighted, split)
    if calibrated:
        losses = negative_log_likelihood(logits, labels)
        yield Score("nll", float(losses.mean()), losses, split, higher_is_better=False, unit="nats")
        error = expected_calibration_error(confidence, correct)
        yield Score("ece", error, None, split, higher_is_better=False)
    columns = {
        "item": np.asarray(items, dtype=object),
        "label": labels,
        "prediction": logits.argmax(1),
        "confidence": confidence,
        "correct": correct,
        "correct_top5": top5,
        "probability_of_label": chances[np.arange(len(labels)), labels],
    }
    yield Outputs(columns, split)
