"""Multinomial logistic regression at many L2 strengths at once.

For every strength l it minimises, over weights W (classes x dim) and an unpenalised intercept b,

    mean_i nll(softmax(W x_i + b), y_i) + l/2 ||W||^2,

which is scikit-learn's ``LogisticRegression(C=1 / (l n))`` divided by ``C n``. All strengths share their matrix
products. In the eigenbasis of the features' covariance the Hessian at zero is (1/K) (I - 11'/K) (x) diag(s) + l I
(Boehning 1992 bounds it by the same with 1/2), so L-BFGS preconditioned by that diagonal starts with a
Newton step and needs tens of
iterations. A strength that has converged leaves the batch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROWS = 1024
"""Rows a chunk: its logits of twenty strengths and a hundred classes stay in the processor's cache."""

HISTORY = 8


@dataclass(frozen=True)
class Solution:
    """One model a strength. ``converged`` says where the largest gradient entry fell to the tolerance."""

    weights: Float[Tensor, "strengths classes dim"]
    intercepts: Float[Tensor, "strengths classes"]
    objective: Float[Tensor, "strengths"]
    gradient_norm: Float[Tensor, "strengths"]
    converged: Bool[Tensor, "strengths"]
    iterations: int

    def logits(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "strengths n classes"]:
        """Scores of every class by every model."""
        return torch.stack([features @ w.T + b for w, b in zip(self.weights, self.intercepts, strict=True)])


def solve(
    features: Float[Tensor, "n dim"],
    labels: Int[Tensor, "n"],
    classes: int,
    strengths: Float[Tensor, "strengths"],
    tolerance: float = 1e-4,
    max_iterations: int = 500,
    start: Solution | None = None,
) -> Solution:
    """Fit all strengths together until the largest entry of each gradient is at most ``tolerance``.

    The tolerance is scikit-learn's ``tol`` (the gradient of the mean objective above, of centred features). ``start``
    (of as many strengths, or of one for all) warm-starts. Raises ``FloatingPointError`` on NaN or infinity in
    ``features`` and ``ValueError`` on labels outside the classes, fewer than two classes, or a strength not above zero.
    """
    _refuse(features, labels, classes, strengths)
    problem = _Problem(features, labels, classes)
    points = problem.coordinates(start, len(strengths))
    result = _minimise(problem, points, strengths.to(features.device, torch.float32), tolerance, max_iterations)
    weights, intercepts = problem.original(result.points)
    return Solution(
        weights, intercepts, result.objective, result.gradient_norm, result.gradient_norm <= tolerance, result.steps
    )


def _refuse(features: Tensor, labels: Tensor, classes: int, strengths: Tensor) -> None:
    if not torch.isfinite(features).all():
        raise FloatingPointError("the features hold NaN or infinity; no model can be fitted to them")
    if classes < 2:
        raise ValueError(f"logistic regression needs at least two classes, got {classes}")
    if labels.numel() == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be in 0..{classes - 1}, and at least one must be given")
    if not bool((strengths > 0).all()):
        raise ValueError(f"strengths must be above zero, got {strengths.tolist()}")


class _Problem:
    """The data in the eigenbasis of their covariance, one column of ones for the intercept last.

    Points are (rank + 1, strengths, classes): all strengths are one matrix product. The rows are shuffled so that the
    first chunk is a fair sample, whatever order the labels came in.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int) -> None:
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(features.device)
        self.mean = features.mean(0, dtype=torch.float64).float()
        centred = features.float() - self.mean
        self.basis, self.spectrum = _eigenbasis(centred)
        ones = torch.ones(len(labels), 1, device=features.device)
        self.rows = torch.cat([centred @ self.basis, ones], 1)[order]
        self.labels, self.classes = labels[order], classes

    def coordinates(self, start: Solution | None, strengths: int) -> Tensor:
        shape = (len(self.spectrum), strengths, self.classes)
        if start is None:
            return torch.zeros(shape, device=self.rows.device)
        weights = (start.weights @ self.basis).permute(2, 0, 1)
        intercepts = start.intercepts + start.weights @ self.mean
        return torch.cat([weights, intercepts[None]]).expand(shape).contiguous()

    def original(self, points: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.einsum("dr,rsk->skd", self.basis, points[:-1])
        return weights, points[-1] - weights @ self.mean

    def largest_entry(self, gradient: Tensor) -> Tensor:
        """The largest absolute gradient entry in the features' own coordinates, a strength."""
        inside = (self.basis @ gradient[:-1].flatten(1)).abs().view(-1, *gradient.shape[1:]).amax((0, 2))
        return torch.maximum(inside, gradient[-1].abs().amax(1))

    def evaluate(self, points: Tensor, strengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The objective, its gradient, and the mean curvature p(1 - p) by class, of every strength."""
        count, total = points.shape[1], len(self.labels)
        loss = torch.zeros(count, dtype=torch.float64, device=points.device)
        gradient = torch.zeros_like(points)
        curvature = torch.zeros(())
        for begin in range(0, total, ROWS):
            rows, labels = self.rows[begin : begin + ROWS], self.labels[begin : begin + ROWS]
            chances = torch.softmax((rows @ points.flatten(1)).view(-1, count, self.classes), -1)
            if begin == 0:
                curvature = (chances * (1 - chances)).mean(0)
            index = labels[:, None, None].expand(-1, count, 1)
            right = chances.gather(2, index)
            # The floor bounds the loss of a hopeless trial step at 87 nats, where float32 ends.
            loss -= right.clamp_min(1e-38).log().sum((0, 2), dtype=torch.float64)
            chances.scatter_(2, index, right - 1)
            gradient.flatten(1).addmm_(rows.T, chances.flatten(1))
        weights = points[:-1] * strengths[None, :, None]
        gradient /= total
        gradient[:-1] += weights
        penalty = (weights * points[:-1]).sum((0, 2), dtype=torch.float64) / 2
        return loss / total + penalty, gradient, curvature


def _eigenbasis(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (dim, rank) the features vary in, and their variances with the intercept's 1 appended."""
    count, dim = centred.shape
    if count > dim:
        values, vectors = torch.linalg.eigh(centred.T @ centred / count)
    else:
        values, left = torch.linalg.eigh(centred @ centred.T / count)
    # Below float32's noise a direction is no direction: dropping it drops nothing from the features.
    keep = values > max(float(values[-1]), 1e-30) * 1e-7
    if count > dim:
        basis = vectors[:, keep]
    else:
        basis = torch.linalg.qr(centred.T @ left[:, keep] / (values[keep] * count).sqrt())[0]
    return basis, torch.cat([values[keep], torch.ones(1, device=centred.device)])


@dataclass
class _Result:
    points: Tensor
    objective: Tensor
    gradient_norm: Tensor
    steps: int


@dataclass
class _Memory:
    """The last steps and gradient changes of L-BFGS; ``weight`` 0 marks a pair that must not count."""

    steps: list[Tensor]
    changes: list[Tensor]
    weights: list[Tensor]
    scale: Tensor

    def add(self, step: Tensor, change: Tensor, accepted: Tensor, inverse: Tensor) -> None:
        product = _dot(step, change)
        use = accepted & (product > 0)
        self.steps.append(step)
        self.changes.append(change)
        self.weights.append(torch.where(use, 1 / product.where(use, torch.ones_like(product)), 0))
        self.scale = torch.where(use, product / _dot(change, inverse * change).clamp_min(1e-38), self.scale)
        del self.steps[:-HISTORY], self.changes[:-HISTORY], self.weights[:-HISTORY]

    def keep(self, rows: Tensor) -> None:
        self.steps = [step[:, rows] for step in self.steps]
        self.changes = [change[:, rows] for change in self.changes]
        self.weights = [weight[rows] for weight in self.weights]
        self.scale = self.scale[rows]

    def direction(self, gradient: Tensor, inverse: Tensor) -> Tensor:
        """L-BFGS's two loops with the inverse preconditioner in the middle."""
        result, alphas = gradient.clone(), []
        for step, change, weight in zip(self.steps[::-1], self.changes[::-1], self.weights[::-1], strict=True):
            alphas.append(weight * _dot(step, result))
            result -= alphas[-1][None, :, None] * change
        result *= inverse * self.scale[None, :, None]
        for step, change, weight in zip(self.steps, self.changes, self.weights, strict=True):
            result += (alphas.pop() - weight * _dot(change, result))[None, :, None] * step
        return -result


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("rsk,rsk->s", left, right)


def _minimise(problem: _Problem, points: Tensor, strengths: Tensor, tolerance: float, limit: int) -> _Result:
    """Every pass tries one step of each strength still moving; a refused step is shortened in the next pass."""
    value, gradient, curvature = problem.evaluate(points, strengths)
    final = _Result(points.clone(), value.clone(), problem.largest_entry(gradient), 0)
    moving = torch.arange(len(strengths), device=points.device)
    memory = _Memory([], [], [], torch.ones_like(strengths))
    length = torch.ones_like(strengths)
    direction = memory.direction(gradient, _inverse(problem, curvature, strengths))
    while final.steps < limit:
        stay = final.gradient_norm[moving] > tolerance
        if not bool(stay.all()):
            moving, strengths, length, value = moving[stay], strengths[stay], length[stay], value[stay]
            points, gradient, direction, curvature = (
                points[:, stay],
                gradient[:, stay],
                direction[:, stay],
                curvature[stay],
            )
            memory.keep(stay)
        if not len(moving):
            break
        final.steps += 1
        step = direction * length[None, :, None]
        new_value, new_gradient, new_curvature = problem.evaluate(points + step, strengths)
        slope = _dot(gradient, step)
        # Float32 gradients see further than float32 losses do: a rise within rounding is no refusal.
        accepted = new_value <= value + 1e-4 * slope + 1e-7 * value.abs()
        taken = accepted[None, :, None]
        curvature = torch.where(accepted[:, None], new_curvature, curvature)
        inverse = _inverse(problem, curvature, strengths)
        memory.add(step, new_gradient - gradient, accepted, inverse)
        shortened = -slope / (2 * (new_value - value - slope).clamp_min(1e-30))
        length = torch.where(accepted, 1.0, length * shortened.clamp(0.1, 0.5)).float()
        points = torch.where(taken, points + step, points)
        gradient, value = torch.where(taken, new_gradient, gradient), torch.where(accepted, new_value, value)
        direction = torch.where(taken, memory.direction(gradient, inverse), direction)
        final.points[:, moving], final.objective[moving] = points, value
        final.gradient_norm[moving] = problem.largest_entry(gradient)
    return final


def _inverse(problem: _Problem, curvature: Tensor, strengths: Tensor) -> Tensor:
    """One over the diagonal: curvature times variance, plus the strength (none for the intercept)."""
    penalty = strengths.expand(len(problem.spectrum), -1).clone()
    penalty[-1] = 0
    return 1 / (problem.spectrum[:, None, None] * curvature.clamp_min(1e-6) + penalty[:, :, None])
