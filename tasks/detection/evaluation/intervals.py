"""How far average precision could have gone with other images: a bootstrap over images, alone and of two detectors.

Detections are matched once, since what is found in an image does not depend on the others; a draw only weighs images
anew. The same images give the same draws, so that two detectors can be compared on each of them.

Copies of an image lift interpolated precision, so that draws lie above the value (by 0.009 of an AP of 0.10 where there
were 60 images); only their spread is taken, and laid around the value. Of 160 sets of 60 made-up images, other than the
rule was chosen on, the interval then held the AP and the AP50 of very many images in 94 % each, and as the draws lie in
84 and 86 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from tasks.classification.weighted_metrics import PerDraw, bootstrap, interval
from tasks.detection.evaluation.curves import Curve, Weights
from tasks.detection.evaluation.measured import Measured, measured
from tasks.detection.evaluation.metrics import mean
from tasks.detection.evaluation.overlaps import Kind
from tasks.detection.evaluation.tables import Tables

INTERVALS = ("ap", "ap50")
"""The metrics that have an interval."""


def intervals(asked: Measured) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of ``ap`` and ``ap50``, each draw's mean over the classes it has objects of."""
    values = _both(asked.curve(), np.ones(asked.images))
    spreads = zip(INTERVALS, values, draws(asked), strict=True)
    return {name: _around(value, spread, 0.0) for name, value, spread in spreads}


def draws(asked: Measured) -> Float64[np.ndarray, "metrics draws"]:
    """``ap`` and ``ap50`` of every draw; NaN of one without any object."""
    curve = asked.curve()
    return bootstrap(lambda weights: np.asarray([_both(curve, each) for each in weights]).T, asked.images)


def _both(curve: Curve, weights: Weights) -> tuple[float, float]:
    precision = curve.precision(weights)
    return mean(precision), mean(precision[0])


class Difference(NamedTuple):
    """By how much a metric of the second is higher than the first's, with the 95 % interval over images."""

    value: float
    interval: tuple[float, float] | None


def paired(first: Tables, second: Tables, classes: Sequence[str], kind: Kind = "box") -> dict[str, Difference]:
    """Two detectors in the same images: ``ap`` and ``ap50`` of the second less those of the first, draw by draw.

    What makes images easy or hard for both cancels: smaller differences show than with two intervals side by side.
    Raises ``ValueError`` where the images or what is annotated in them differ.
    """
    _refuse_others(first, second)
    both = [measured(each, len(classes), kind) for each in (first, second)]
    ours, theirs = (_both(each.curve(), np.ones(each.images)) for each in both)
    values = (np.asarray(theirs) - ours).tolist()
    spread = draws(both[1]) - draws(both[0])
    spreads = zip(INTERVALS, values, spread, strict=True)
    return {name: Difference(value, _around(value, each, -1.0)) for name, value, each in spreads}


def _around(value: float, spread: PerDraw, least: float) -> tuple[float, float] | None:
    """95 % of the draws, moved so that their mean is the value, between the least there can be and 1."""
    ends = interval(spread)
    if ends is None:
        return None
    low, high = (end - float(np.nanmean(spread)) + value for end in ends)
    return max(low, least), min(high, 1.0)


def _refuse_others(first: Tables, second: Tables) -> None:
    if first.names != second.names:
        raise ValueError(
            f"a paired comparison needs the same images in the same order; got {len(first.names)} and "
            f"{len(second.names)}, of which {len(set(first.names) & set(second.names))} are in both"
        )
    ours, theirs = first.annotated, second.annotated
    for what in ("image", "labels", "boxes", "areas", "crowd"):
        if not np.array_equal(getattr(ours, what), getattr(theirs, what)):
            raise ValueError(f"a paired comparison needs the same annotations; the objects' {what} differ")
