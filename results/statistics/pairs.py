"""All pairs of backbones on the same test items at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from results.statistics.bootstrap import draw_counts
from results.statistics.student import p_value

RESAMPLES = 10_000
AT_ONCE = 2**22


@dataclass(frozen=True)
class Pairs:
    """Of every pair the mean difference, row minus column, with its 95 % bootstrap interval; (backbones, backbones)."""

    difference: Float[np.ndarray, "backbones backbones"]
    low: Float[np.ndarray, "backbones backbones"]
    high: Float[np.ndarray, "backbones backbones"]


def paired_bootstrap(values: Float[np.ndarray, "backbones items"], resamples: int = RESAMPLES, seed: int = 0) -> Pairs:
    """Percentile intervals of all differences, from the same resampled items for all backbones.

    The resampled means are products of the items' counts and their values, in float32: values are taken less their
    backbone's and their item's mean, which no difference's spread depends on, so that rounding is about 1e-5 of an
    interval's width. The differences themselves are float64.
    """
    means = values.mean(axis=1, dtype=np.float64)
    apart = _resampled_deviations(values, resamples, seed)
    difference = means[:, None] - means[None, :]
    low, high = np.zeros_like(difference), np.zeros_like(difference)
    for one in range(len(values) - 1):
        quantiles = np.quantile(apart[one] - apart[one + 1 :], [0.025, 0.975], axis=1)
        low[one, one + 1 :], high[one, one + 1 :] = quantiles + difference[one, one + 1 :]
    return Pairs(difference, low - high.T, high - low.T)


def pairwise_p(values: Float[np.ndarray, "backbones items"]) -> Float[np.ndarray, "backbones backbones"]:
    """p-values of the paired t-test of every pair, from the covariances; 1 on the diagonal.

    A bootstrap's p-value is at least 1 / (resamples + 1), which 1,225 corrected comparisons turn into 0.12: nothing
    would ever differ. The t-test has no such floor, and asks that the mean over items be normal.
    """
    items = values.shape[1]
    centred = _centred(values)
    covariance = centred @ centred.T / (items - 1)
    variance = np.diag(covariance)
    spread = np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0.0)
    # Of two that are equal item by item, what is left are rounding errors.
    spread[spread <= 1e-12 * (variance[:, None] + variance[None, :])] = 0.0
    means = values.mean(axis=1, dtype=np.float64)
    difference = means[:, None] - means[None, :]
    difference[np.abs(difference) <= 1e-12 * np.abs(means).max(initial=0.0)] = 0.0
    return p_value(difference, np.sqrt(spread / items), items - 1)


def _resampled_deviations(
    values: Float[np.ndarray, "backbones items"], resamples: int, seed: int
) -> Float[np.ndarray, "backbones resamples"]:
    backbones, items = values.shape
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(seed)
    centred = _centred(values).astype(np.float32)
    apart = np.empty((backbones, resamples), dtype=np.float32)
    rows = max(1, AT_ONCE // items)
    # The products are a fifth of the work. Two threads for them took minutes instead of seconds beside torch.
    with threadpool_limits(1, "blas"):
        for start in range(0, resamples, rows):
            block = range(start, min(start + rows, resamples))
            counts = np.stack([draw_counts(generator, items).astype(np.float32) for _ in block])
            apart[:, start : block.stop] = centred @ counts.T / items
    return apart


def _centred(values: Float[np.ndarray, "backbones items"]) -> Float[np.ndarray, "backbones items"]:
    by_item = values - values.mean(axis=0, dtype=np.float64)
    return np.asarray(by_item - by_item.mean(axis=1, keepdims=True))
