"""Several seeds asked the same test items: how much of the spread comes from items, how much from seeds.

value(seed, item) = mean + item + seed + rest: the two-way layout with random effects and one value a place (Searle,
Casella and McCulloch 1992, chapter 4), by the mean squares of its analysis of variance.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from results.statistics.student import Estimate, estimate


@dataclass(frozen=True)
class Components:
    """Variances of one item's, one seed's and one place's part, of ``n_items`` and ``n_seeds``; never below zero.

    ``error`` is the standard error of the mean, known with ``freedom`` degrees of freedom (Satterthwaite 1946).
    """

    mean: float
    items: float
    seeds: float
    rest: float
    n_items: int
    n_seeds: int
    error: float
    freedom: float

    def shares(self) -> tuple[float, float, float]:
        """Of the mean's variance, what comes from items, from seeds, and from both together; they sum to 1."""
        parts = np.array([self.items_part(), self.seeds / self.n_seeds, self.rest / (self.n_items * self.n_seeds)])
        total = parts.sum()
        items, seeds, rest = parts / total if total > 0 else np.array([0.0, 0.0, 0.0])
        return float(items), float(seeds), float(rest)

    def items_part(self) -> float:
        """The variance of the mean that no further seed takes away."""
        return self.items / self.n_items

    def per_seed(self) -> float:
        """The variance of a mean over these items from seed to seed."""
        return self.seeds + self.rest / self.n_items

    def estimate(self) -> Estimate:
        """The mean over all items and all seeds that there could be."""
        return estimate(self.mean, self.error, self.freedom)


def components(values: Float[np.ndarray, "seeds items"]) -> Components:
    """Take the spread of ``values`` apart. Raises ``ValueError`` for fewer than two seeds or items."""
    seeds, items = values.shape
    if min(seeds, items) < 2:
        raise ValueError(f"components of variance need two seeds and two items at least; got {seeds} and {items}")
    mean, by_seed, by_item = values.mean(), values.mean(axis=1), values.mean(axis=0)
    freedoms = np.array([items - 1, seeds - 1, (items - 1) * (seeds - 1)])
    left = values - by_seed[:, None] - by_item[None, :] + mean
    of_items, of_seeds, rest = (
        np.array([seeds * ((by_item - mean) ** 2).sum(), items * ((by_seed - mean) ** 2).sum(), (left**2).sum()])
        / freedoms
    )
    error, freedom = _error(np.array([of_items, of_seeds, rest]), freedoms)
    return Components(
        mean=float(mean),
        items=max(0.0, float(of_items - rest) / seeds),
        seeds=max(0.0, float(of_seeds - rest) / items),
        rest=float(rest),
        n_items=items,
        n_seeds=seeds,
        error=float(error / np.sqrt(items * seeds)),
        freedom=freedom,
    )


def _error(squares: Float[np.ndarray, " 3"], freedoms: np.ndarray) -> tuple[float, float]:
    """Root of the expected mean square of the mean, and its degrees of freedom.

    items + seeds - rest. One that is below the rest, which its true value cannot be, is taken to equal it.
    """
    items, seeds = (squares[:2] > squares[2]).astype(int)
    weights = np.array([items, seeds, 1 - items - seeds])
    total = float(weights @ squares)
    if total <= 0:
        return 0.0, float(freedoms[0])
    return float(np.sqrt(total)), total**2 / float(((weights * squares) ** 2 / freedoms).sum())
