"""How well a score tells images that are known from others: AUROC, AUPR both ways, and FPR at 95 % TPR.

Every function takes the scores of the known images and those of each set of unknown ones, higher meaning more known,
and gives the metric's mean over the sets, weighed by ``shares`` (equally, where none are given), with a 95 % interval
over images. The known images are the same for every set, which the intervals account for. They are in closed form, from
what each image contributes to the metric: a bootstrap of 60,000 images takes seconds a number, and there are hundreds.
Of 600 draws of 100 to 400 images AUROC's held the truth in 93 to 96 %, AUPR's in 92 to 95 %, FPR's in 96 to 98 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from results.statistics import Z95

Values = Float64[np.ndarray, " _"]
Contributions = tuple[float, np.ndarray, np.ndarray]
"""A metric, and its derivatives with respect to how often each known and each unknown image counts."""


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; none where there are too few images for one."""

    value: float
    interval: tuple[float, float] | None


def auroc(known: Values, unknown: Sequence[Values], shares: Sequence[float] = ()) -> Estimate:
    """The chance that a known image scores above an unknown one, equals counting half: a constant score has 0.5.

    The variance is DeLong's (1988), the interval that of the logit.
    """
    return _smooth(_auroc, known, unknown, shares)


def aupr_in(known: Values, unknown: Sequence[Values], shares: Sequence[float] = ()) -> Estimate:
    """Average precision of finding the known images by high scores; a constant score has their share.

    The sum over thresholds of precision times the gain in recall, equal scores together; not the trapezoid under the
    curve. The variance is the infinitesimal jackknife's (Jaeckel 1972) for fixed numbers of known and unknown images,
    the interval that of the logit.
    """
    return _smooth(_average_precision, known, unknown, shares)


def aupr_out(known: Values, unknown: Sequence[Values], shares: Sequence[float] = ()) -> Estimate:
    """The same of finding the unknown images by low scores; a constant score has the unknown images' share."""

    def swapped(known: Values, unknown: Values) -> Contributions:
        value, of_unknown, of_known = _average_precision(-unknown, -known)
        return value, of_known, of_unknown

    return _smooth(swapped, known, unknown, shares)


def fpr95(known: Values, unknown: Sequence[Values], shares: Sequence[float] = ()) -> Estimate:
    """The share of unknown images taken for known by the highest threshold that takes 95 % of the known ones or more.

    An image is taken for known that scores as high as the threshold or higher, so a constant score has 1. The interval
    joins that of the threshold (by order statistics) with those of the shares (Wilson 1927) as in Zou and Donner 2008.
    """
    weights = _shares(unknown, shares)
    rising, needed = np.sort(known), -(-95 * len(known) // 100)
    sets = [np.sort(each) for each in unknown]

    def taken(count: int) -> list[float]:
        """Of each set, by the threshold that takes so many of the known images."""
        if count < 1 or count > len(known):
            return [float(count > 0)] * len(sets)
        threshold = rising[len(rising) - count]
        return [1 - float(np.searchsorted(each, threshold)) / len(each) for each in sets]

    found = taken(needed)
    value = float(np.dot(weights, found))
    fewer, more = _order_statistics(len(known))
    ends = np.array([_wilson(rate, len(each)) for rate, each in zip(found, sets, strict=True)])
    below = np.hypot(value - np.dot(weights, taken(fewer)), np.linalg.norm(weights * (found - ends[:, 0])))
    above = np.hypot(np.dot(weights, taken(more)) - value, np.linalg.norm(weights * (ends[:, 1] - found)))
    return Estimate(value, (max(0.0, value - float(below)), min(1.0, value + float(above))))


def _shares(unknown: Sequence[Values], shares: Sequence[float]) -> np.ndarray:
    return np.asarray(shares) if len(shares) else np.full(len(unknown), 1 / len(unknown))


def _smooth(
    metric: Callable[[Values, Values], Contributions],
    known: Values,
    unknown: Sequence[Values],
    shares: Sequence[float],
) -> Estimate:
    """The mean of a metric over sets, and its interval from what each image contributes to it."""
    weights = _shares(unknown, shares)
    parts = [metric(known, each) for each in unknown]
    value = float(sum(share * part[0] for share, part in zip(weights, parts, strict=True)))
    if min(len(known), *map(len, unknown)) < 2:
        return Estimate(value, None)
    together = np.sum([share * part[1] for share, part in zip(weights, parts, strict=True)], axis=0)
    groups = [together, *(share * part[2] for share, part in zip(weights, parts, strict=True))]
    variance = sum(len(group) * float(group.var(ddof=1)) for group in groups)
    return Estimate(value, _logit_interval(value, variance, min(len(known), *map(len, unknown))))


def _logit_interval(value: float, variance: float, fewest: int) -> tuple[float, float]:
    """At 0 and 1 a variance is none: there it is what so many pairs, each image once, all in order, leave possible."""
    if value >= 1:
        return 0.025 ** (1 / fewest), value
    if value <= 0:
        return value, 1 - 0.025 ** (1 / fewest)
    margin = Z95 * np.sqrt(variance) / (value * (1 - value))
    centre = np.log(value / (1 - value))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-margin, margin]))))
    return min(float(low), value), max(float(high), value)


def _auroc(known: Values, unknown: Values) -> Contributions:
    below = _placed(known, unknown)
    value = float(below.mean())
    above = 1 - _placed(unknown, known)
    return value, (below - value) / len(known), (above - value) / len(unknown)


def _placed(values: Values, among: Values) -> Values:
    """The share of ``among`` that is below each value, equals counting half."""
    rising = np.sort(among)
    return (np.searchsorted(rising, values) + np.searchsorted(rising, values, "right")) / (2 * len(among))


def _average_precision(positive: Values, negative: Values) -> Contributions:
    """Of positives found by high values. An image's derivative sums over the thresholds that reach down to it."""
    levels, place = np.unique(np.concatenate([positive, negative]), return_inverse=True)
    first, other = place[: len(positive)], place[len(positive) :]
    hits, misses = (np.bincount(each, minlength=len(levels)) for each in (first, other))
    found, wrong = hits[::-1].cumsum()[::-1], misses[::-1].cumsum()[::-1]
    total = (found + wrong).astype(np.float64)
    precision = found / total
    value = float(hits @ precision) / len(positive)
    gained, lost = (hits * wrong / total**2).cumsum(), (hits * found / total**2).cumsum()
    return value, (precision - value + gained)[first] / len(positive), -lost[other] / len(positive)


def _order_statistics(count: int) -> tuple[int, int]:
    """How many of the known images the threshold that takes 95 % of all such images takes, with 95 % confidence."""
    from scipy.stats import binom  # slow to import, and a plan that is only read needs none of it

    return int(binom.ppf(0.025, count, 0.95)), int(binom.ppf(0.975, count, 0.95)) + 1


def _wilson(rate: float, count: int) -> tuple[float, float]:
    spread = Z95 * np.sqrt(rate * (1 - rate) / count + Z95**2 / (4 * count**2))
    centre, scale = rate + Z95**2 / (2 * count), 1 + Z95**2 / count
    return (centre - spread) / scale, (centre + spread) / scale


METRICS = {"auroc": auroc, "aupr_in": aupr_in, "aupr_out": aupr_out, "fpr95": fpr95}
