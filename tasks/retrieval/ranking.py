"""Retrieval metrics of one query in closed form: nothing is sorted but what decides them, and ties are averaged.

A ranking is blocks of equal score. Within a block every order is equally likely, and each metric is its expectation,
so that a constant scorer gets exactly what random orders get on average (McSherry and Najork 2008).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import digamma


@dataclass(frozen=True)
class Blocks:
    """The blocks that hold right answers, best first: items ranked above, items in it, right ones among them."""

    above: Int[np.ndarray, " blocks"]
    size: Int[np.ndarray, " blocks"]
    right: Int[np.ndarray, " blocks"]

    @property
    def right_above(self) -> Int[np.ndarray, " blocks"]:
        """Right answers in better blocks."""
        return np.asarray(np.cumsum(self.right) - self.right)


def blocks(ordered: Int[np.ndarray, " n"], right: Int[np.ndarray, " m"]) -> Blocks:
    """Blocks from all scores in ascending order and the scores of the right answers among them."""
    values, counts = np.unique(right, return_counts=True)
    high, low = np.searchsorted(ordered, values, "right"), np.searchsorted(ordered, values, "left")
    return Blocks((len(ordered) - high)[::-1], (high - low)[::-1], counts[::-1])


def average_precision(ranking: Blocks) -> float:
    """Mean over the right answers of the precision at their ranks (no interpolation, no trapezoids).

    >>> round(average_precision(Blocks(np.array([0, 2]), np.array([1, 1]), np.array([1, 1]))), 4)
    0.8333
    """
    return precision_mass(ranking) / int(ranking.right.sum())


def precision_mass(ranking: Blocks, k: int | None = None) -> float:
    """Sum over the right answers, or those among the first ``k``, of the precision at their ranks."""
    above, size, right = (column.astype(np.float64) for column in (ranking.above, ranking.size, ranking.right))
    taken = size if k is None else np.clip(k - above, 0, size)
    # Sum over those places i of the block of (r/n) (R + 1 + (i - 1)(r - 1)/(n - 1)) / (t + i), where t items are above.
    harmonic = digamma(above + taken + 1) - digamma(above + 1)
    slope = (right - 1) / np.maximum(size - 1, 1)
    inside = (ranking.right_above + 1) * harmonic + slope * (taken - (above + 1) * harmonic)
    return float((right / size * inside).sum())


def _first(ranking: Blocks) -> tuple[int, Float[np.ndarray, " places"]]:
    """Items above the first block, and the chance of each place in it to hold the first right answer."""
    size, right = int(ranking.size[0]), int(ranking.right[0])
    places = np.arange(1, size - right + 1)
    chances = right / size * np.concatenate([[1.0], np.cumprod((size - places - right + 1) / (size - places))])
    return int(ranking.above[0]), chances


def first_place(ranking: Blocks) -> tuple[float, float]:
    """Expected reciprocal rank and expected rank (from 1) of the first right answer."""
    above, chances = _first(ranking)
    ranks = above + 1 + np.arange(len(chances))
    return float((chances / ranks).sum()), float((chances * ranks).sum())


def hit(ranking: Blocks, k: int) -> float:
    """Chance that at least one right answer is among the first ``k``."""
    above, chances = _first(ranking)
    return float(min(1.0, chances[: max(0, k - above)].sum()))


def precision(ranking: Blocks, k: int) -> float:
    """Expected share of right answers among the first ``k``."""
    taken = np.clip(k - ranking.above, 0, ranking.size)
    return float((taken * ranking.right / ranking.size).sum() / k)
