"""Classification metrics: pure functions of scores, probabilities and labels. None is ever given a NaN."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray


def refuse_invalid(scores: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], what: str = "logits") -> None:
    """Raise ``FloatingPointError`` on NaN or infinity in ``scores``, ``ValueError`` on a label that is no column."""
    bad = np.flatnonzero(~np.isfinite(scores).all(1))
    if len(bad):
        raise FloatingPointError(
            f"the {what} of {len(bad)} of {len(scores)} items hold NaN or infinity (first: row {bad[0]}); "
            "no metric is computed from them"
        )
    if len(labels) == 0:
        raise ValueError("there are no items to score")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"labels must be in 0..{scores.shape[1] - 1}, found {labels.min()}..{labels.max()}")


def top_k_correct(
    scores: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], k: int
) -> Float[np.ndarray, " n"]:
    """Whether the right class is among the ``k`` highest, for each item.

    Tied classes are taken in random order and the expectation is given, so a constant scorer gets ``k / classes``.

    >>> top_k_correct(np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]), np.array([1, 0]), 1)
    array([1. , 0.5])
    """
    refuse_invalid(scores, labels, "scores")
    right = scores[np.arange(len(labels)), labels][:, None]
    above, tied = (scores > right).sum(1), (scores == right).sum(1)
    return np.asarray(np.clip((k - above) / tied, 0.0, 1.0))


def mean_per_class(correct: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Items weighted so that their mean is the mean over classes of the class's mean; absent classes do not count.

    >>> mean_per_class(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1])).mean()
    np.float64(0.5)
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return correct * len(labels) / (len(counts) * counts[inverse])


def softmax(logits: Float[np.ndarray, "n classes"]) -> NDArray[np.float64]:
    """Probabilities in float64, (n, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def negative_log_likelihood(
    logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> NDArray[np.float64]:
    """-log of the right class's probability, in nats, for each item; never infinite for finite logits."""
    refuse_invalid(logits, labels)
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels])


def expected_calibration_error(
    confidence: Float[np.ndarray, " n"], correct: Float[np.ndarray, " n"], bins: int = 15
) -> float:
    """Share-weighted mean of |accuracy - mean confidence| over ``bins`` equal-width bins (lower, upper] of confidence.

    Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.

    >>> round(expected_calibration_error(np.array([0.9, 0.9]), np.array([1.0, 0.0])), 3)
    0.4
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
