"""Detections of a set of images, matched and ranked once by COCO's rules or LVIS's: every metric is read from this.

Of COCO, the first 100 of each class in an image count, wherever they lie. Of LVIS (Gupta et al. 2019), whose images
were searched for some classes only, the first 300 of an image; those of a class that is neither annotated in the image
nor known to be absent are left out, and those of classes that are not annotated exhaustively are never wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from tasks.detection.evaluation.curves import Curve, by_group, curve
from tasks.detection.evaluation.matching import Matches, match
from tasks.detection.evaluation.overlaps import Kind, Pairs, overlapping
from tasks.detection.evaluation.tables import Annotated, Found, Tables

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Pixels that an object has at least and at most."""
OF_A_CLASS, OF_AN_IMAGE = 100, 300
Rows = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Measured:
    """The detections that count, who overlaps with whom, and in which order they are asked.

    ``order`` is the rank by score in the image and class; ``ranking`` sorts by class, then by score; ``open_ended`` are
    detections of classes that were not annotated exhaustively in their image.
    """

    found: Found
    annotated: Annotated
    classes: int
    images: int
    kind: Kind
    pairs: Pairs
    order: Int64[np.ndarray, " found"]
    ranking: Int64[np.ndarray, " found"]
    areas: Float64[np.ndarray, " found"]
    open_ended: Bool[np.ndarray, " found"]

    def matched(self, size: str = "all", thresholds: Sequence[float] = THRESHOLDS) -> Matches:
        """Which object each detection found, of objects of a size."""
        return match(self.pairs, self.order, self.counts(size), self.annotated.crowd, thresholds)

    def counts(self, size: str = "all") -> Bool[np.ndarray, " annotated"]:
        """Which objects are to be found."""
        return np.asarray(~self.annotated.crowd & _within(self.annotated.areas, size))

    def curve(self, size: str = "all", thresholds: Sequence[float] = THRESHOLDS) -> Curve:
        """Precision and recall of every class, of objects of a size."""
        groups = self.found.labels, self.annotated.labels, self.classes
        return self._curve(self.matched(size, thresholds), size, groups, self.ranking)

    def image_curve(self, threshold: float = 0.5) -> Curve:
        """The same of every image, its classes together: a detection is right if its class is."""
        groups = self.found.image, self.annotated.image, self.images
        return self._curve(
            self.matched("all", [threshold]), "all", groups, by_group(self.found.image, self.found.scores)
        )

    def _curve(
        self, matches: Matches, size: str, groups: tuple[NDArray[np.int64], NDArray[np.int64], int], ranking: Rows
    ) -> Curve:
        counted = _within(self.areas, size) & ~self.open_ended
        return curve(self.found, self.annotated, matches, counted, self.counts(size), groups, ranking)


def measured(tables: Tables, classes: int, kind: Kind = "box") -> Measured:
    """Everything about boxes or about masks that metrics are read from."""
    found, annotated = tables.found, tables.annotated
    if tables.federated:
        found = found.only(np.flatnonzero(_rank_within(found.image, found.scores) < OF_AN_IMAGE))
        found = found.only(np.flatnonzero(_searched(tables, found, classes)))
    order = _rank_within(found.image * classes + found.labels, found.scores)
    if not tables.federated:
        kept = np.flatnonzero(order < OF_A_CLASS)
        found, order = found.only(kept), order[kept]
    return Measured(
        found=found,
        annotated=annotated,
        classes=classes,
        images=len(tables.names),
        kind=kind,
        pairs=overlapping(found, annotated, classes, kind, THRESHOLDS[0]),
        order=order,
        ranking=by_group(found.labels, found.scores),
        areas=_mask_areas(found) if kind == "mask" else found.box_areas(),
        open_ended=_among(tables.incomplete, found, classes),
    )


def _within(areas: NDArray[np.floating], size: str) -> Bool[np.ndarray, " n"]:
    least, most = SIZES[size]
    return np.asarray((areas >= least) & (areas <= most))


def _rank_within(group: Rows, scores: NDArray[np.floating]) -> Rows:
    """How many of the same group have a higher score, or the same and come before."""
    order = by_group(group, scores)
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return rank


def _searched(tables: Tables, found: Found, classes: int) -> Bool[np.ndarray, " found"]:
    """Whether a detection's class was looked for in its image."""
    everything = np.asarray([each is None for each in tables.absent], dtype=bool)
    annotated = tables.annotated.image * classes + tables.annotated.labels
    present = np.isin(found.image * classes + found.labels, annotated)
    return np.asarray(everything[found.image] | present | _among(tables.absent, found, classes))


def _among(of_images: Sequence[tuple[int, ...] | None], found: Found, classes: int) -> Bool[np.ndarray, " found"]:
    """Whether a detection's class is among those of its image."""
    keys = [row * classes + label for row, labels in enumerate(of_images) for label in labels or ()]
    if not keys:
        return np.zeros(len(found), dtype=bool)
    return np.isin(found.image * classes + found.labels, keys)


def _mask_areas(found: Found) -> Float64[np.ndarray, " found"]:
    from faster_coco_eval.core import mask

    outlines = found.outlines or ()
    return np.asarray(mask.area([{"size": list(each.size), "counts": each.counts} for each in outlines]), np.float64)
