"""Average precision from matches, as a function of how often each image counts: so a bootstrap matches only once.

Precision is interpolated at 101 recalls as COCO's evaluation does it. Only where something is found does recall grow,
so that only those detections are looked at: precision there, the best that is still to come, and how many of the 101
recalls are reached by each. What was found in vain is only counted.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from numpy.typing import NDArray

from tasks.detection.evaluation.matching import Matches
from tasks.detection.evaluation.tables import Annotated, Found

RECALLS = np.linspace(0, 1, 101)
Weights = Float64[np.ndarray, " images"]


@dataclass(frozen=True)
class Curve:
    """What is needed of a ranking of detections in ``groups`` (classes, or images), for several thresholds at once.

    ``image`` is that of every detection, sorted by group, then by score; ``counted`` says whether it counts as found in
    vain while it is matched to nothing. A row of the others is a matched detection: at ``position`` among those,
    in ``segment`` (threshold x group); ``change`` is how much more it counts for being matched; ``right`` whether it
    found an object that counts. ``objects`` has the image and the group of each object that counts.
    """

    groups: int
    thresholds: int
    image: Int64[np.ndarray, " found"]
    counted: Bool[np.ndarray, " found"]
    begin: Int64[np.ndarray, " groups"]
    position: Int64[np.ndarray, " matched"]
    segment: Int64[np.ndarray, " matched"]
    change: Int64[np.ndarray, " matched"]
    right: Bool[np.ndarray, " matched"]
    objects: tuple[Int64[np.ndarray, " objects"], Int64[np.ndarray, " objects"]]

    def precision(self, weights: Weights) -> Float64[np.ndarray, "thresholds groups"]:
        """Average precision of each group; NaN of one without objects. Whole weights are as if images were repeated."""
        right, segment = self.right, self.segment[self.right]
        group = segment % self.groups
        seen = np.concatenate([[0.0], (weights[self.image] * self.counted).cumsum()])
        accepted = seen[self.position[right] + 1] - seen[self.begin[group]]
        matched_weights = weights[self.image[self.position]]
        if self.change.any():
            accepted += _running(matched_weights * self.change, self.segment)[right]
        hits = _running(matched_weights[right], segment)
        positives = self.positives(weights)
        reached = np.searchsorted(RECALLS, hits / np.maximum(positives[group], 1), "right")
        gained = np.diff(reached, prepend=0)
        starts = _starts(segment)
        gained[starts] = reached[starts]
        best = _best_to_come(hits / np.maximum(accepted, 1), segment)
        area = np.bincount(segment, best * gained, minlength=self.thresholds * self.groups) / len(RECALLS)
        return np.where(positives > 0, area.reshape(self.thresholds, self.groups), np.nan)

    def positives(self, weights: Weights) -> Float64[np.ndarray, " groups"]:
        """How many objects there are of each group."""
        image, group = self.objects
        return np.bincount(group, weights[image], minlength=self.groups).astype(
            np.float64
        )  # of nothing it counts in int64

    def recall(self, first: Bool[np.ndarray, " found"]) -> Float64[np.ndarray, "thresholds groups"]:
        """The share of objects found by the detections that are among the ``first`` (sorted as ``image`` is)."""
        kept = self.segment[self.right & first[self.position]]
        hits = np.bincount(kept, minlength=self.thresholds * self.groups).reshape(self.thresholds, self.groups)
        positives = self.positives(np.ones(1 + max(self.objects[0], default=0)))
        return np.asarray(np.divide(hits, positives, out=np.full(hits.shape, np.nan), where=positives > 0))


def curve(
    found: Found,
    annotated: Annotated,
    matches: Matches,
    counted: Bool[np.ndarray, " found"],
    counts: Bool[np.ndarray, " annotated"],
    groups: tuple[NDArray[np.int64], NDArray[np.int64], int],
    ranking: Int64[np.ndarray, " found"],
) -> Curve:
    """``ranking`` sorts detections by group, then by score; ``groups`` are the detections', the objects', how many."""
    of_found, of_annotated, many = groups
    place = np.empty(len(ranking), np.int64)
    place[ranking] = np.arange(len(ranking))
    by_rank = np.argsort(place[matches.rows])
    threshold, column = np.nonzero(matches.to[:, by_rank] >= 0)
    row, to = matches.rows[by_rank][column], matches.to[:, by_rank][threshold, column]
    return Curve(
        groups=many,
        thresholds=len(matches.to),
        image=found.image[ranking],
        counted=counted[ranking],
        begin=np.searchsorted(of_found[ranking], np.arange(many)),
        position=place[row],
        segment=threshold * many + of_found[row],
        change=counts[to].astype(np.int64) - counted[row],
        right=counts[to],
        objects=(annotated.image[counts], of_annotated[counts]),
    )


def ranked(
    found: Found,
    labels: Int64[np.ndarray, " found"],
    right: Bool[np.ndarray, " found"],
    counted: Bool[np.ndarray, " found"],
    objects: tuple[NDArray[np.int64], NDArray[np.int64]],
    classes: int,
) -> Curve:
    """Of detections that are known to be right or wrong, at no threshold in particular; see :class:`Curve`."""
    ranking = by_group(labels, found.scores)
    position = np.flatnonzero(right[ranking])
    sure = np.ones(len(position), dtype=bool)
    return Curve(
        groups=classes,
        thresholds=1,
        image=found.image[ranking],
        counted=counted[ranking],
        begin=np.searchsorted(labels[ranking], np.arange(classes)),
        position=position,
        segment=labels[ranking][position],
        change=1 - counted[ranking][position],
        right=sure,
        objects=objects,
    )


def by_group(group: Int64[np.ndarray, " n"], scores: Float32[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The rows sorted by group, then by falling score; equal scores stay in order."""
    by_score = np.argsort(-scores, kind="stable")
    return by_score[np.argsort(group[by_score], kind="stable")]


def _starts(segment: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " segments"]:
    return np.flatnonzero(np.diff(segment, prepend=-1))


def _running(values: Float64[np.ndarray, " n"], segment: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The sum of each value and those before it in its segment."""
    total, starts = values.cumsum(), _starts(segment)
    return np.asarray(total - np.repeat(total[starts] - values[starts], np.diff(starts, append=len(values))))


def _best_to_come(values: Float64[np.ndarray, " n"], segment: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The highest of each value, in [0, 1], and those after it in its segment.

    Earlier segments are lifted above later ones, so that one pass does for all (and loses some 1e-12).
    """
    lift = -2.0 * segment
    return np.asarray(np.maximum.accumulate((values + lift)[::-1])[::-1] - lift)
