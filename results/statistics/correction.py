"""p-values of many questions asked at once, adjusted so that they may be held against the level as one would be."""

import numpy as np
from jaxtyping import Float


def holm(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Below the level in none of the true null hypotheses, with probability one minus the level (Holm 1979).

    Under any dependence. The i-th smallest of m is multiplied by m - i, and none is smaller than one before it.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _back(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Of those below the level, the expected share of false ones is below it too (Benjamini and Hochberg 1995).

    For tests that are independent or positively dependent.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _back(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _back(adjusted: Float[np.ndarray, " tests"], order: np.ndarray) -> Float[np.ndarray, " tests"]:
    """From sorted order to that of the question."""
    result = np.empty(len(adjusted))
    result[order] = adjusted
    return result
