"""Two backbones where only each seed's number is known: by Student's t over seeds."""

import numpy as np
from jaxtyping import Float

from results.statistics.student import Estimate, estimate


def over_paired_seeds(differences: Float[np.ndarray, " seeds"]) -> Estimate:
    """Of each seed's difference. A pair shares what its seed decides (splits, order), so their noise is one.

    Raises ``ValueError`` for fewer than two.
    """
    if len(differences) < 2:
        raise ValueError(f"a spread over seeds needs two at least; got {len(differences)}")
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return estimate(float(differences.mean()), float(error), len(differences) - 1)


def over_unpaired_seeds(mine: Float[np.ndarray, " a"], theirs: Float[np.ndarray, " b"]) -> Estimate:
    """Mine less theirs, of seeds that have nothing to do with one another, each with its own spread (Welch 1947).

    Raises ``ValueError`` for fewer than two of either.
    """
    if min(len(mine), len(theirs)) < 2:
        raise ValueError(f"a spread over seeds needs two at least of each; got {len(mine)} and {len(theirs)}")
    parts = np.array([each.var(ddof=1) / len(each) for each in (mine, theirs)])
    weights = np.array([len(each) - 1 for each in (mine, theirs)])
    total = parts.sum()
    freedom = float(total**2 / (parts**2 / weights).sum()) if total > 0 else float(weights.sum())
    return estimate(float(mine.mean() - theirs.mean()), float(np.sqrt(total)), freedom)
