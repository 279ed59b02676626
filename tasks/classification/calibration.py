"""Calibration metrics: how far confidence is from accuracy. Pure functions of probabilities and what came true.

A *gap* of an item is what came true (1 or 0) less the probability it was given. Binned errors are sums of bins' mean
gaps, so every one is a function of :class:`Binned` gaps, and resampling items is one matrix product.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from tasks.classification.metrics import refuse_invalid
from tasks.classification.weighted_metrics import Weights, bootstrap

BINS = 15
"""As Guo et al. 2017."""


def equal_width(confidence: Float[np.ndarray, " n"], bins: int = BINS) -> Int64[np.ndarray, " n"]:
    """The bin of each item among ``bins`` equal parts (lower, upper] of [0, 1]; 0 is in the first.

    >>> equal_width(np.array([0.0, 0.1, 0.5, 0.51, 1.0]), 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1))


def equal_mass(confidence: Float[np.ndarray, " n"], bins: int = BINS) -> Int64[np.ndarray, " n"]:
    """The bin of each item among ``bins`` of as equal counts as ties allow (Nguyen and O'Connor 2015).

    Items of one confidence are never divided: together they are in the bin of their middle rank. So the bins do not
    depend on the order of the items, and a constant predictor has one bin.

    >>> equal_mass(np.array([0.9, 0.2, 0.4, 0.3]), 2).tolist(), equal_mass(np.array([0.5, 0.5, 0.5]), 2).tolist()
    ([1, 0, 1, 0], [1, 1, 1])
    """
    _, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(confidence)
    return np.minimum(np.floor(middle * bins).astype(np.int64), bins - 1)[group]


@dataclass(frozen=True)
class Binned:
    """Items' gaps and the bin each is in."""

    gaps: Float64[np.ndarray, " n"]
    place: Int64[np.ndarray, " n"]
    bins: int = BINS

    def error(self) -> float:
        """Share-weighted mean over bins of |accuracy - mean confidence|: the (plug-in) calibration error."""
        return float(np.abs(self._sums(self.gaps)).sum() / len(self.gaps))

    def root_mean_square_error(self) -> float:
        """Root of the share-weighted mean over bins of (accuracy - mean confidence)^2, without the plug-in's bias.

        Noise makes a plug-in error positive even where calibration is perfect. A bin's squared mean gap is estimated
        by the mean product of the gaps of two different items, whose expectation it is: in bins of one confidence that
        is the debiased estimator of Kumar et al. 2019 (section 5). Below zero, which chance may bring, counts as zero;
        bins of one item tell nothing and are left out of the mean.
        """
        counts, sums, squares = self._sums(np.ones_like(self.gaps)), self._sums(self.gaps), self._sums(self.gaps**2)
        several = counts > 1
        if not several.any():
            return 0.0
        count = counts[several]
        products = (sums[several] ** 2 - squares[several]) / (count * (count - 1))
        return float(np.sqrt(max(0.0, (products * count).sum() / count.sum())))

    def deviations(self, weights: Weights) -> Float64[np.ndarray, " draws"]:
        """For each resampling, the sum over bins of |its mean gap - ours|, each a share of all items."""
        columns = np.zeros((len(self.gaps), self.bins))
        columns[np.arange(len(self.gaps)), self.place] = self.gaps
        return np.asarray(np.abs(weights @ columns - self._sums(self.gaps)).sum(1) / len(self.gaps))

    def _sums(self, values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " bins"]:
        return np.bincount(self.place, weights=values, minlength=self.bins)


def error_intervals(binned: dict[str, Binned]) -> dict[str, tuple[float, float]]:
    """An interval that holds the true error of each (in the same bins) with at least 95 %, and always the plug-in one.

    A resampled error is biased twice, so its quantiles are no interval. But two errors differ by no more than the sum
    over bins of how far their mean gaps are apart, and how large that gets by chance a bootstrap tells: the error plus
    and minus its 95 % quantile. It is wide (where chance goes both ways in different bins it cancels), never narrow.
    """
    items = len(next(iter(binned.values())).gaps)
    drawn = bootstrap(lambda weights: np.stack([each.deviations(weights) for each in binned.values()]), items)
    found = {}
    for (name, each), deviations in zip(binned.items(), drawn, strict=True):
        error, margin = each.error(), float(np.quantile(deviations, 0.95))
        found[name] = (max(0.0, error - margin), min(1.0, error + margin))
    return found


def brier(chances: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Sum over classes of (probability - truth)^2 for each item, 0 to 2 (Brier 1950); with two classes twice the
    binary score that looks at one of them.

    >>> brier(np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]), np.array([0, 0, 1])).tolist()
    [0.0, 0.5, 2.0]
    """
    refuse_invalid(chances, labels, "probabilities")
    right = chances[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(np.square(chances, dtype=np.float64).sum(1) - right**2 + (1 - right) ** 2)


def classwise_error(chances: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], bins: int = BINS) -> float:
    """Mean over classes of the equal-width calibration error of the class's probability (Kull et al. 2019).

    Every class counts the same, and every item for every class. With many classes nearly all probabilities are near 0
    and so is this.
    """
    refuse_invalid(chances, labels, "probabilities")
    errors = []
    for column, chance in enumerate(chances.T):
        gaps = (labels == column) - chance.astype(np.float64)
        errors.append(Binned(gaps, equal_width(chance, bins), bins).error())
    return float(np.mean(errors))
