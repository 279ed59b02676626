"""How far average precision could have gone with other images: a bootstrap over images, alone and of two detectors.

Detections are matched once, since what is found in an image does not depend on the others; a draw only weighs images
anew. The same images give the same draws, so that two detectors can be compared on each of them.
"""

import numpy as np
from jaxtyping import Float64

from tasks.classification.weighted_metrics import bootstrap, interval
from tasks.detection.evaluation.curves import Weights
from tasks.detection.evaluation.measured import Measured
from tasks.detection.evaluation.metrics import mean

INTERVALS = ("ap", "ap50")
"""The metrics that have an interval."""


def intervals(asked: Measured) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of ``ap`` and ``ap50``, each draw's mean over the classes it has objects of."""
    return {name: interval(values) for name, values in zip(INTERVALS, draws(asked), strict=True)}


def draws(asked: Measured) -> Float64[np.ndarray, "metrics draws"]:
    """``ap`` and ``ap50`` of every draw; NaN of one without any object."""
    curve = asked.curve()

    def of_images(weights: Weights) -> tuple[float, float]:
        precision = curve.precision(weights)
        return mean(precision), mean(precision[0])

    return bootstrap(lambda weights: np.asarray([of_images(each) for each in weights]).T, asked.images)
