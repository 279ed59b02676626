"""How far a metric of all pairs could have gone with other queries: a bootstrap over groups of them, from counts alone.

To draw single queries anew would take every query's scores. Queries are dealt into :data:`GROUPS` groups, which are
drawn in their place, and scores are counted in coarse steps; where there are fewer queries each is a group. Only the
spread is taken from this, and laid around the exact value.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int32, Int64
from numpy.typing import NDArray

from tasks.classification.weighted_metrics import Weights, bootstrap, interval

GROUPS = 200
COARSE = 8
"""Bits of a step that are dropped: scores are told apart to 1/4096."""
HELD = 2**21
"""Numbers held of several draws at once (16 MB each matrix)."""


@dataclass
class GroupedCounts:
    """Pairs of each group by score, rising, in coarse steps: all of them, and the right ones."""

    every: Int64[np.ndarray, "groups bins"]
    right: Int64[np.ndarray, "groups bins"]

    @classmethod
    def of(cls, queries: int, steps: int) -> "GroupedCounts":
        """Nothing counted yet, of scores that are so many steps at most."""
        shape = min(GROUPS, queries), (steps >> COARSE) + 1
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    def count(self, steps: Int32[np.ndarray, "rows columns"], first: int) -> None:
        """Count the pairs of some queries, ``first`` and those after it. Step 0 is none."""
        groups, bins = self.every.shape
        for group in range(groups):
            mine = steps[(group - first) % groups :: groups] >> COARSE
            self.every[group, 1:] += np.bincount(mine.ravel(), minlength=bins)[1:]

    def count_right(self, queries: NDArray[np.int64], steps: NDArray[np.int64]) -> None:
        """Count the right pairs, each by its query and its score."""
        groups, bins = self.right.shape
        places = queries % groups * bins + (steps >> COARSE)
        self.right += np.bincount(places, minlength=groups * bins).reshape(groups, bins)

    def intervals(self, precision: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """By how much less and more 95 % of draws have: of average precision, and of recall at that precision."""
        steps = np.flatnonzero(self.right.any(0))[::-1]  # between them the accepted grow, and nothing is gained
        accepted, right = (_as_high(counts)[:, steps] for counts in (self.every, self.right))
        both = partial(_both, accepted, right, precision)
        whole = both(np.ones((1, len(self.every))))
        less_and_more = [interval(spread) or (0.0, 0.0) for spread in bootstrap(both, len(self.every)) - whole]
        return less_and_more[0], less_and_more[1]


def _as_high(counts: Int64[np.ndarray, "groups bins"]) -> Float64[np.ndarray, "groups bins"]:
    """How many pairs of each group score as high as each step, or higher."""
    return np.asarray(counts[:, ::-1].cumsum(1)[:, ::-1], dtype=np.float64)


def _both(
    accepted: Float64[np.ndarray, "groups steps"],
    right: Float64[np.ndarray, "groups steps"],
    precision: float,
    weights: Weights,
) -> Float64[np.ndarray, "2 draws"]:
    """Average precision and recall at a precision of each draw, NaN for one without a right pair."""
    found = []
    for some in np.array_split(weights, -(-len(weights) * right.shape[1] // HELD)):
        hits = some @ right
        recall = hits / np.where(hits[:, -1:] > 0, hits[:, -1:], np.nan)
        share = hits / np.maximum(some @ accepted, 1e-12)  # where nothing is accepted nothing is right
        gained = np.diff(recall, prepend=0, axis=1)
        found.append(np.stack([(gained * share).sum(1), np.where(share >= precision, recall, 0 * recall).max(1)]))
    return np.concatenate(found, axis=1)
