"""Mahalanobis distances to class means, and relative to that of all images together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from tasks.ood.scores.base import Learnt, Seen, Values, by_block, fitted
from tasks.rows import runs

SMALLEST_STD = 1e-6
"""Of the largest: less is rounding of float32 features. Such directions are left out, as a pseudo-inverse does.

That is all that is done about a singular covariance (fewer images than dimensions, classes of one image): nothing is
added to it, as in the papers.
"""


@dataclass(frozen=True)
class Gaussians:
    """Distances to several means under one covariance, in coordinates where it is the identity."""

    centre: Float64[np.ndarray, " dim"]
    whitening: Float64[np.ndarray, "dim rank"]
    means: Float64[np.ndarray, "means rank"]

    def nearest(self, features: Float32[np.ndarray, "n dim"]) -> Values:
        """The smallest squared distance of each row to a mean. In float64: small variances make large differences."""
        rows = (features - self.centre) @ self.whitening
        squares = (rows**2).sum(1)[:, None] - 2 * rows @ self.means.T + (self.means**2).sum(1)
        return np.asarray(np.maximum(squares.min(1), 0.0))


def mahalanobis(learnt: Learnt) -> Callable[[Seen], Values]:
    """max_c -(f - m_c)' S^-1 (f - m_c), S the covariance about the class means (Lee et al. 2018).

    Of the features a backbone gives, without the paper's other layers and its perturbation of the image.
    """
    classes = _gaussians(learnt.means, _within(learnt))
    return lambda seen: -by_block(classes.nearest, seen.features)


def relative_mahalanobis(learnt: Learnt) -> Callable[[Seen], Values]:
    """max_c -(MD_c - MD_0), MD_0 the distance under one Gaussian of all images (Ren et al. 2021)."""
    within, counts = _within(learnt), np.bincount(learnt.places)
    centre = counts @ learnt.means / len(learnt.places)
    apart = (learnt.means - centre) * np.sqrt(counts / len(learnt.places))[:, None]
    classes, everything = _gaussians(learnt.means, within), _gaussians(centre[None], within + apart.T @ apart)
    return lambda seen: by_block(lambda rows: everything.nearest(rows) - classes.nearest(rows), seen.features)


def _within(learnt: Learnt) -> Float64[np.ndarray, "dim dim"]:
    """The mean over images of (f - m_c)(f - m_c)'."""
    dim = learnt.features.shape[1]
    total = np.zeros((dim, dim))
    for run in runs(*learnt.features.shape):
        rows = learnt.features[run] - learnt.means[learnt.places[run]]
        total += rows.T @ rows
    return total / len(learnt.features)


def _gaussians(means: Float64[np.ndarray, "means dim"], covariance: Float64[np.ndarray, "dim dim"]) -> Gaussians:
    variances, directions = np.linalg.eigh(covariance)
    kept = variances > SMALLEST_STD**2 * max(variances[-1], np.finfo(np.float64).tiny)
    whitening = directions[:, kept] / np.sqrt(variances[kept])
    centre = means.mean(0)
    return Gaussians(centre, whitening, (means - centre) @ whitening)


METHODS = {"mahalanobis": fitted(mahalanobis), "relative_mahalanobis": fitted(relative_mahalanobis)}
