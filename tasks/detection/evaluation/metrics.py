"""The numbers of COCO's evaluation, and of LVIS's, by our names: fractions, and means over the classes with objects."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64

from tasks.detection.evaluation.measured import SIZES, THRESHOLDS, Measured

Frequency = Literal["r", "c", "f"]
"""How many training images a class is in: rare (below 10), common (below 100) or frequent."""
FREQUENCIES: Mapping[Frequency, str] = {"r": "rare", "c": "common", "f": "frequent"}
BY_THRESHOLD = {"ap50": 0.5, "ap75": 0.75}
DEPTHS = (1, 10, 100)


def metrics(asked: Measured, frequency: Sequence[Frequency] | None = None, federated: bool = False) -> dict[str, float]:
    """Every metric by its name. NaN where there is no object (of that size, of such a class) to be found.

    ``ap`` is the mean of average precision over ten IoU thresholds, .5 to .95; ``ap50`` and ``ap75`` at one. ``arK`` is
    the share of objects that is found by the first K detections of each class in an image (LVIS: the first 300 of an
    image), the mean over the thresholds. ``ap_small`` and its like are of objects of that size.
    """
    curves = {size: asked.curve(size) for size in SIZES}
    ones = np.ones(asked.images)
    precision = {size: each.precision(ones) for size, each in curves.items()}
    whole = precision["all"]
    values = {"ap": mean(whole)} | {name: mean(whole[_at(level)]) for name, level in BY_THRESHOLD.items()}
    values |= {f"ap_{size}": mean(precision[size]) for size in SIZES if size != "all"}
    rank = asked.order[asked.ranking]
    depths = (300,) if federated else DEPTHS
    values |= {f"ar{depth}": mean(curves["all"].recall(rank < depth)) for depth in depths}
    values |= {f"ar_{size}": mean(curves[size].recall(rank < max(depths))) for size in SIZES if size != "all"}
    for short, word in FREQUENCIES.items() if frequency else ():
        values[f"ap_{word}"] = mean(whole[:, np.asarray([each == short for each in frequency or ()])])
    return values


def by_class(asked: Measured) -> Float64[np.ndarray, " classes"]:
    """``ap`` of each class; NaN of one without objects."""
    return np.asarray(asked.curve().precision(np.ones(asked.images)).mean(axis=0))


def by_image(asked: Measured) -> Float64[np.ndarray, " images"]:
    """AP50 of each image as if it were the only one and its classes were one ranking; NaN of one without objects."""
    return np.asarray(asked.image_curve().precision(np.ones(asked.images))[0])


def mean(values: Float64[np.ndarray, "..."]) -> float:
    """Of what is defined; NaN of nothing."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _at(threshold: float) -> int:
    return int(np.argmin(np.abs(np.asarray(THRESHOLDS) - threshold)))
