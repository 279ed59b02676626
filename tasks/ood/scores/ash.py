"""Activation shaping: small activations of each image are removed, the rest kept, levelled or scaled up."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from tasks.ood.scores.base import Learnt, Method, Parameter, Seen, Values, by_block, constant, each, log_sum_exp

Rows = Float32[np.ndarray, "n dim"]


def pruned(features: Rows, percentile: float) -> Rows:
    """ASH-P: activations below the image's own p-th percentile become 0 (Djurisic et al. 2023).

    dim - round(dim p / 100) are kept, at least one, and all that equal the least of them.
    """
    dim = features.shape[1]
    least = min(dim - 1, round(dim * percentile / 100))
    cut = np.partition(features, least, axis=1)[:, least, None]
    return np.where(features >= cut, features, np.float32(0))


def levelled(features: Rows, percentile: float) -> Rows:
    """ASH-B: those kept all become one number, such that the image's sum stays; zeros stay zeros."""
    kept = pruned(features, percentile) > 0
    shares = features.sum(1, keepdims=True) / np.maximum(kept.sum(1, keepdims=True), 1)
    return np.asarray(kept * shares, dtype=np.float32)


def scaled(features: Rows, percentile: float) -> Rows:
    """ASH-S: those kept are multiplied by exp(sum before / sum after); zeros stay zeros."""
    kept = pruned(features, percentile)
    before, after = features.sum(1, keepdims=True), kept.sum(1, keepdims=True)
    return np.asarray(kept * np.exp(before / np.where(after > 0, after, 1)), dtype=np.float32)


def _method(shape: Callable[[Rows, float], Rows], percentile: float, unfit: Callable[[Learnt], str | None]) -> Method:
    """The energy of the shaped features; the percentile is the paper's for ResNet-50 on ImageNet."""

    def score(seen: Seen, value: float) -> Values:
        return by_block(lambda rows: log_sum_exp(seen.head(shape(rows, value))), seen.features)

    tried = tuple(dict.fromkeys((percentile, 60.0, 65.0, 70.0, 80.0, 90.0, 95.0)))
    parameter = Parameter("percentile", constant(percentile), lambda learnt: tried)
    return Method(lambda learnt: each(score), parameter, unfit)


def _signed(learnt: Learnt) -> str | None:
    """Sums of activations are strengths only where none is negative, as behind a ReLU."""
    return "it shares out the sum of activations, and some are negative" if learnt.features.min() < 0 else None


METHODS = {
    "ash_p": _method(pruned, 60.0, lambda learnt: None),
    "ash_b": _method(levelled, 65.0, _signed),
    "ash_s": _method(scaled, 90.0, _signed),
}
