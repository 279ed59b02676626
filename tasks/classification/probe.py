"""The linear probe: standardise, fit every strength, choose on val, refit on both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from tasks.classification.logistic import Solution, solve
from tasks.classification.metrics import negative_log_likelihood, top_k_correct
from tasks.moments import Moments, moments
from tasks.rows import blocks_of

Features = Float32[np.ndarray, "n dim"]
Labels = Int64[np.ndarray, "n"]

Side = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Features (n, dim) and labels of one side of a division."""


@dataclass(frozen=True)
class Scaling:
    """z-scores by the statistics of the images learnt from; a feature that does not vary becomes zero.

    It makes one grid of strengths fit every backbone, whatever the scale of its features.
    """

    mean: Float32[np.ndarray, " dim"]
    factor: Float32[np.ndarray, " dim"]

    def __call__(self, features: Features) -> torch.Tensor:
        return torch.from_numpy((features - self.mean) * self.factor)


def scaling_of(features: Features) -> Scaling:
    """The z-scores of features in memory or mapped into it; they are read block by block."""
    return z_scores(moments(blocks_of(features)))


def z_scores(found: Moments) -> Scaling:
    """Below a millionth of the largest spread, or of the features themselves, a spread is rounding: left out."""
    mean, std = found.mean, found.std
    floor = 1e-6 * max(float(std.max()), float(np.abs(mean).max()))
    factor = np.where(std > floor, 1 / np.where(std > floor, std, 1), 0)
    return Scaling(mean.astype(np.float32), factor.astype(np.float32))


@dataclass(frozen=True)
class Probe:
    """A fitted probe: ``logits`` of any features, in the order of the classes it was fitted to."""

    scaling: Scaling
    solution: Solution
    strength: float

    def logits(self, features: Features) -> Float32[np.ndarray, "n classes"]:
        """Scores of every class."""
        return self.solution.logits(self.scaling(features))[0].numpy()


@dataclass(frozen=True)
class Choice:
    """The strength chosen on val, with the accuracies that decided."""

    strength: float
    accuracy: tuple[float, ...]
    start: Solution


def fit(
    features: Features, labels: Labels, classes: int, strength: float, tolerance: float, start: Solution | None = None
) -> Probe:
    """A probe of one strength."""
    scaling = scaling_of(features)
    solution = solve(
        scaling(features), torch.from_numpy(labels), classes, torch.tensor([strength]), tolerance, start=start
    )
    return Probe(scaling, solution, strength)


def choose(
    train: tuple[Features, Labels],
    val: tuple[Float32[np.ndarray, "m dim"], Int64[np.ndarray, " m"]],
    classes: int,
    strengths: Sequence[float],
    tolerance: float,
) -> Choice:
    """The strength with the highest top-1 on val; of equals the one with the lowest loss, then the strongest."""
    return choose_over([(train, val)], classes, strengths, tolerance)


def choose_over(
    divisions: Sequence[tuple[Side, Side]],
    classes: int,
    strengths: Sequence[float],
    tolerance: float,
) -> Choice:
    """The same over several divisions into (learnt from, held out): every image held out counts the same.

    ``start`` is the chosen strength's solution in the first of them.
    """
    grid = sorted(strengths)
    solutions: list[Solution] = []
    correct, losses = [], []
    for (known, their_labels), (asked, labels) in divisions:
        scaling = scaling_of(known)
        solution = solve(scaling(known), torch.from_numpy(their_labels), classes, torch.tensor(grid), tolerance)
        logits = [scores.numpy() for scores in solution.logits(scaling(asked))]
        correct.append([top_k_correct(scores, labels, 1) for scores in logits])
        losses.append([negative_log_likelihood(scores, labels) for scores in logits])
        solutions.append(solution)
    accuracy, loss = (np.concatenate(column, axis=1).mean(1).tolist() for column in (correct, losses))
    best = max(range(len(grid)), key=lambda index: (accuracy[index], -loss[index], grid[index]))
    return Choice(grid[best], tuple(accuracy), solutions[0].only(best))
