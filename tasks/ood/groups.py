"""How groups of a test set fare: the worst of them, and their mean; and what else WILDS asks of its sets."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from tasks.base import Note, Score
from tasks.classification.metrics import mean_per_class
from tasks.classification.weighted_metrics import bootstrap, interval, macro_f1

SMALLEST_GROUP = 10
"""Images a group needs to be asked for: of fewer, the worst of many groups would tell of their smallness alone."""


def f1(labels: Int64[np.ndarray, " n"], predictions: Int64[np.ndarray, " n"], split: str) -> Score:
    """``macro_f1`` over the classes that the set has images of, by which WILDS ranks on iWildCam."""
    value = float(macro_f1(labels, predictions, np.ones((1, len(labels))))[0])
    draws = bootstrap(lambda weights: macro_f1(labels, predictions, weights)[None], len(labels))
    return Score("macro_f1", value, None, split, interval=interval(draws[0]))


def by_group(correct: Float[np.ndarray, " n"], groups: Sequence[str], split: str) -> Iterator[Score | Note]:
    """``worst_group``, the least top1 of a group, and ``mean_per_group``, in which each group weighs the same.

    Only groups of ``SMALLEST_GROUP`` images or more count, and images of no group (an empty name) in none. The
    interval of ``worst_group`` is over the images of the group found to be the worst: it does not know that it was the
    worst of several. (Sagawa et al. 2020; Koh et al. 2021, WILDS.)
    """
    names, place, sizes = np.unique(np.asarray(groups, dtype=object), return_inverse=True, return_counts=True)
    asked = np.flatnonzero((sizes >= SMALLEST_GROUP) & (names != ""))
    left_out = int((names != "").sum()) - len(asked)
    if not len(asked):
        yield Note(f"worst_group:{split}", f"none of {left_out} groups has {SMALLEST_GROUP} images", True)
        return
    shares = np.bincount(place, weights=correct) / sizes
    worst = int(asked[shares[asked].argmin()])
    rows = place == worst
    yield Score("worst_group", float(correct[rows].mean()), correct[rows], split)
    counted = np.isin(place, asked)
    weighted = mean_per_class(correct[counted], place[counted])
    yield Score("mean_per_group", float(weighted.mean()), weighted, split)
    told = {"group": str(names[worst]), "images": int(sizes[worst]), "groups": len(asked), "too small": left_out}
    yield Note(f"worst_group:{split}", told)
