"""PCA-whitening learnt on other images than those compared (Jegou and Chum 2012)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from tasks.features import normalised
from tasks.rows import blocks_of

SMALLEST = 1e-6
"""Variance of a direction against the largest; below it is nothing but rounding, which whitening would blow up."""


@dataclass(frozen=True)
class Whitening:
    """x becomes (x - mean) projected on ``directions``, each scaled to variance one."""

    mean: Float64[np.ndarray, " dim"]
    directions: Float64[np.ndarray, "dim kept"]

    def __call__(self, unit: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n kept"]:
        """Whitened rows of length one; a row of zeros stays zero."""
        moved = np.concatenate([(rows.astype(np.float64) - self.mean) @ self.directions for rows in blocks_of(unit)])
        moved[~unit.any(1)] = 0
        return normalised(moved)


def fit_whitening(unit: Float32[np.ndarray, "n dim"], kept: int) -> Whitening:
    """From rows of length one: the ``kept`` directions of largest variance, or as many as the rows vary in.

    Raises ``ValueError`` where the rows do not vary.
    """
    mean = unit.mean(0, dtype=np.float64)
    covariance = np.zeros((unit.shape[1], unit.shape[1]))
    for rows in blocks_of(unit):
        centred = rows.astype(np.float64) - mean
        covariance += centred.T @ centred / len(unit)
    variances, vectors = np.linalg.eigh(covariance)  # ascending
    variances, vectors = variances[::-1][:kept], vectors[:, ::-1][:, :kept]
    vary = variances > SMALLEST * variances[0]
    if variances[0] <= np.finfo(np.float32).eps ** 2:
        raise ValueError(f"the {len(unit)} images to learn whitening from all have the same features")
    return Whitening(mean, vectors[:, vary] / np.sqrt(variances[vary]))
