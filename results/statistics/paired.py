"""Two backbones on the same test items: is their difference more than which items happened to be asked?

Every function takes the items' differences (n,) or two right/wrong answers to each; p-values are two-sided.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from results.statistics.bootstrap import NORMAL_FROM

EXACT_TO = 16
"""Differences, up to which all flips of their signs are tried: 65,536."""
FLIPS = 9_999
AT_ONCE = 2**22


class Permuted(NamedTuple):
    """A p-value, and the smallest that the way it was found can give (0: no limit of its own)."""

    p: float
    resolution: float


def paired_margin(differences: ArrayLike) -> float | None:
    """What the mean of ``differences`` (n,) must exceed to be above zero by more than noise: 5 %, one-sided.

    The one-sided t-test of paired items: Student's quantile times the standard error of the mean. None for fewer than
    two items, which have no spread.
    """
    from scipy.special import stdtrit  # a tenth of a second to import, and most boards need none of it

    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return None
    return float(stdtrit(len(values) - 1, 0.95) * values.std(ddof=1) / np.sqrt(len(values)))


def mcnemar(mine: Bool[np.ndarray, " items"], theirs: Bool[np.ndarray, " items"]) -> float:
    """Exact p-value of McNemar's test: items that only one got right would be either's with probability 1/2.

    >>> round(mcnemar(np.array([True] * 9 + [False]), np.array([False] * 9 + [True])), 4)
    0.0215
    """
    from scipy.special import bdtr

    only_mine, only_theirs = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    fewer, both = min(only_mine, only_theirs), only_mine + only_theirs
    return 1.0 if both == 0 else min(1.0, 2 * float(bdtr(fewer, both, 0.5)))


def sign_flips(differences: Float[np.ndarray, " items"], seed: int = 0) -> Permuted:
    """Permutation test of a mean difference: had the two been exchangeable, each sign could as well be the other.

    Exact for up to 16 items that differ. From 20,000 on, the normal limit of the same distribution. Between them
    9,999 flips are drawn and the seen one counted among them, so that p is never below 1/10,000.
    """
    seen = differences[differences != 0]
    if len(seen) == 0:
        return Permuted(1.0, 1.0)
    if len(seen) <= EXACT_TO:
        signs = 1 - 2 * (np.arange(2 ** len(seen))[:, None] >> np.arange(len(seen)) & 1)
        return Permuted(_as_extreme(signs @ seen, seen), 2.0 ** (1 - len(seen)))
    if len(seen) >= NORMAL_FROM:
        from scipy.special import ndtr

        return Permuted(2 * float(ndtr(-abs(seen.sum()) / np.sqrt((seen**2).sum()))), 0.0)
    extreme = _as_extreme(_flipped(np.abs(seen), np.random.default_rng(seed)), seen) * FLIPS
    return Permuted((1 + extreme) / (1 + FLIPS), 1 / (1 + FLIPS))


def _flipped(sizes: Float[np.ndarray, " items"], generator: np.random.Generator) -> Float[np.ndarray, " flips"]:
    """Sums under random signs. Items of one size (all, where right and wrong are compared) are drawn by their count."""
    levels, counts = np.unique(sizes, return_counts=True)
    if len(levels) <= 64:
        return np.asarray((2 * generator.binomial(counts, 0.5, size=(FLIPS, len(levels))) - counts) @ levels)
    rows = max(1, AT_ONCE // len(sizes))
    blocks = [min(rows, FLIPS - done) for done in range(0, FLIPS, rows)]
    return np.concatenate([_signs(generator, block, len(sizes)) @ sizes for block in blocks])


def _signs(generator: np.random.Generator, rows: int, items: int) -> Float[np.ndarray, "rows items"]:
    bits = np.frombuffer(generator.bytes(rows * (-(-items // 8))), dtype=np.uint8).reshape(rows, -1)
    return 1.0 - 2.0 * np.unpackbits(bits, axis=1, count=items)


def _as_extreme(sums: Float[np.ndarray, " flips"], seen: Float[np.ndarray, " items"]) -> float:
    """The share that is as far from zero as what was seen, sums that differ by rounding alone being equal."""
    return float((np.abs(sums) >= abs(seen.sum()) - 1e-9 * np.abs(seen).sum()).mean())
