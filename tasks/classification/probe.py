"""The linear probe: standardise, fit every strength, choose on val, refit on both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from tasks.classification.logistic import Solution, solve
from tasks.classification.metrics import negative_log_likelihood, top_k_correct

Features = Float32[np.ndarray, "n dim"]
Labels = Int64[np.ndarray, "n"]


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
    """Below a millionth of the largest spread, or of the features themselves, a spread is rounding: left out."""
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
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
    scaling = scaling_of(train[0])
    grid = sorted(strengths)
    solution = solve(scaling(train[0]), torch.from_numpy(train[1]), classes, torch.tensor(grid), tolerance)
    logits = [scores.numpy() for scores in solution.logits(scaling(val[0]))]
    accuracy = [float(top_k_correct(scores, val[1], 1).mean()) for scores in logits]
    losses = [float(negative_log_likelihood(scores, val[1]).mean()) for scores in logits]
    best = max(range(len(grid)), key=lambda index: (accuracy[index], -losses[index], grid[index]))
    alone = Solution(
        solution.weights[best : best + 1],
        solution.intercepts[best : best + 1],
        solution.objective[best : best + 1],
        solution.gradient_norm[best : best + 1],
        solution.converged[best : best + 1],
        solution.iterations,
    )
    return Choice(grid[best], tuple(accuracy), alone)
