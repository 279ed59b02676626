"""Metrics as the landmark protocols define them, in closed form over blocks of equal score, ties averaged.

On scores that all differ they are the official numbers; see ``ranking`` for what a block is.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import comb, digamma

from tasks.retrieval.ranking import Blocks, precision_mass


def trapezoidal_precision(ranking: Blocks) -> float:
    """Average precision by trapezoids, as the Oxford and Paris protocols take it (Philbin 2007, Radenovic 2018).

    The mean over right answers of (p + p') / 2: the precision just above the answer's rank (1 at the very top), and
    the precision at it.

    >>> round(trapezoidal_precision(Blocks(np.array([0, 2]), np.array([1, 1]), np.array([1, 1]))), 4)
    0.7917
    """
    above, size, right, right_above = _columns(ranking)
    slope = (right - 1) / np.maximum(size - 1, 1)
    # Just above place i of the block: sum of (r/n) (R + (i - 1)(r - 1)/(n - 1)) / (t + i - 1), where t are above; of
    # the first block of all (t = R = 0) the place i = 1 counts as 1 and every other as (r - 1)/(n - 1).
    harmonic = digamma(above + size) - digamma(np.maximum(above, 1))
    before = np.where(above > 0, right_above * harmonic + slope * (size - above * harmonic), 1 + slope * (size - 1))
    return float((precision_mass(ranking) + (right / size * before).sum()) / (2 * right.sum()))


def clipped_precision(ranking: Blocks, k: int) -> float:
    """Precision at ``k``, or at the rank of the last right answer where that is above ``k`` (Radenovic 2018).

    So a query with fewer than ``k`` right answers can reach 1.

    >>> clipped_precision(Blocks(np.array([0, 2]), np.array([1, 1]), np.array([1, 1])), 10)
    0.6666666666666666
    """
    above, size, right, _ = _columns(ranking)
    expected = float((np.clip(k - above, 0, size) * right / size).sum())
    # The last right answer is at place m of the last block with chance C(m - 1, r - 1) / C(n, r); then all are above.
    place = np.arange(right[-1], min(size[-1], k - 1 - above[-1]) + 1)
    chance = comb(place - 1, right[-1] - 1) / comb(size[-1], right[-1])
    total = right.sum()
    return float((expected - chance.sum() * total) / k + (chance * total / (above[-1] + place)).sum())


def truncated_precision(ranking: Blocks, k: int) -> float:
    """Average precision of the first ``k`` ranks: the divisor is the number of right answers, at most ``k``.

    As Google Landmarks v2 defines it (Weyand et al. 2020), with ``k`` = 100.

    >>> truncated_precision(Blocks(np.array([0, 2]), np.array([1, 1]), np.array([1, 1])), 2)
    0.5
    """
    return precision_mass(ranking, k) / min(int(ranking.right.sum()), k)


def _columns(ranking: Blocks) -> tuple[Float[np.ndarray, " blocks"], ...]:
    above, size, right = (column.astype(np.float64) for column in (ranking.above, ranking.size, ranking.right))
    return above, size, right, np.cumsum(right) - right
