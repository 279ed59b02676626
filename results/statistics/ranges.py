"""Places that are honest about noise: ranges of ranks, and groups of backbones that could not be told apart."""

import numpy as np
from jaxtyping import Bool, Float

from results.statistics.correction import holm
from results.statistics.student import LEVEL


def different(
    p: Float[np.ndarray, "backbones backbones"], level: float = LEVEL
) -> Bool[np.ndarray, "backbones backbones"]:
    """Which pairs differ, of all pairs compared at once (Holm): none of those found is false, with 95 % probability."""
    upper = np.triu_indices(len(p), 1)
    found = np.zeros(p.shape, dtype=bool)
    found[upper] = holm(p[upper]) < level
    return np.asarray(found | found.T)


def rank_ranges(
    scores: Float[np.ndarray, " backbones"], differ: Bool[np.ndarray, "backbones backbones"]
) -> list[tuple[int, int]]:
    """The best and the worst rank each could have: behind all that are surely better, before all surely worse.

    Higher scores are better, rank 1 the best. Where none of the found differences is false, every true rank is in its
    range (Mogstad, Romano, Shaikh and Wilhelm 2024).

    >>> rank_ranges(np.array([0.9, 0.8, 0.1]), np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=bool))
    [(1, 2), (1, 2), (3, 3)]
    """
    above = scores[None, :] > scores[:, None]
    better, worse = (differ & above).sum(axis=1), (differ & above.T).sum(axis=1)
    return [(1 + int(up), len(scores) - int(down)) for up, down in zip(better, worse, strict=True)]


def tie_groups(
    scores: Float[np.ndarray, " backbones"], differ: Bool[np.ndarray, "backbones backbones"]
) -> list[tuple[int, ...]]:
    """Runs of the order by score within which no two differ, each as long as it can be; the best first.

    Groups may overlap, as the bars of a critical-difference diagram do: A and B, B and C, while A and C differ. Two
    that differ are in no group together, and everybody is in at least one. Two that were not told apart may share no
    group only where one between them differs from one of them. All are one group just where no pair differs, so that
    of identical backbones at least 95 % of boards show one group, if ``differ`` keeps its error over all pairs.

    >>> tie_groups(np.array([0.1, 0.9, 0.5]), np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool))
    [(1, 2), (2, 0)]
    """
    order = np.argsort(-scores, kind="stable")
    groups: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        stop = start + 1
        while stop < len(order) and not differ[order[start:stop], order[stop]].any():
            stop += 1
        if stop > reached:
            groups.append(tuple(order[start:stop].tolist()))
            reached = stop
    return groups
