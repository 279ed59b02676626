"""Multinomial logistic regression at many L2 strengths at once.

For every strength l it minimises, over weights W (classes x dim) and an unpenalised intercept b,

    mean_i nll(softmax(W x_i + b), y_i) + l/2 ||W||^2,

which is scikit-learn's ``LogisticRegression(C=1 / (l n))`` divided by ``C n``. The strengths are solved from the
strongest to the weakest by L-BFGS, each first stepping along the parabola, in log l, through the solutions before it.
The pairs of steps and gradient changes are carried along: the penalty's part of a change is known exactly. In the
eigenbasis of the features' covariance the Hessian at zero is (1/K) (I - 11'/K) (x) diag(s) + l I (Boehning 1992 bounds
it by the same with 1/2), and its diagonal preconditions. On 10,000 x 512 features of 100 classes twenty strengths took
78 passes over the rows so, and 307 when each started from zero. Bfloat16 products for the early passes of a batched
variant left 121 of its 162 passes in float32 and added 120 of their own: by the products' rates, no gain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROWS = 1024
"""Rows a chunk: its logits of a hundred classes stay in the processor's cache."""

HISTORY = 15
"""Pairs L-BFGS remembers. Twenty strengths took 86, 81 and 78 passes with 5, 10 and 15 on the data named above."""


@dataclass(frozen=True)
class Solution:
    """One model a strength. ``converged`` says where the largest gradient entry fell to the tolerance.

    ``iterations`` counts the passes over the rows of all strengths together.
    """

    weights: Float[Tensor, "strengths classes dim"]
    intercepts: Float[Tensor, "strengths classes"]
    objective: Float[Tensor, " strengths"]
    gradient_norm: Float[Tensor, " strengths"]
    converged: Bool[Tensor, " strengths"]
    iterations: int

    def logits(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "strengths n classes"]:
        """Scores of every class by every model."""
        return torch.stack([features @ w.T + b for w, b in zip(self.weights, self.intercepts, strict=True)])

    def only(self, place: int) -> "Solution":
        """The model of one strength."""
        here = slice(place, place + 1)
        return Solution(
            self.weights[here],
            self.intercepts[here],
            self.objective[here],
            self.gradient_norm[here],
            self.converged[here],
            self.iterations,
        )


def solve(
    features: Float[Tensor, "n dim"],
    labels: Int[Tensor, " n"],
    classes: int,
    strengths: Float[Tensor, " strengths"],
    tolerance: float = 1e-4,
    max_iterations: int = 500,
    start: Solution | None = None,
) -> Solution:
    """Fit every strength until the largest entry of its gradient is at most ``tolerance``.

    The tolerance is scikit-learn's ``tol`` (the gradient of the mean objective above, of centred features). ``start``
    (of as many strengths, or of one for all) warm-starts. ``max_iterations`` bounds the passes of one strength. Raises
    ``FloatingPointError`` on NaN or infinity in ``features`` and ``ValueError`` on labels outside the classes, fewer
    than two classes, or a strength not above zero.
    """
    _refuse(features, labels, classes, strengths)
    problem = _Problem(features, labels, classes)
    values = strengths.to(torch.float32).tolist()
    points = None if start is None else problem.coordinates(start, len(values))
    solved, passes = _solve(problem, values, points, tolerance, max_iterations)
    weights, intercepts = problem.original(torch.stack([state.points for state in solved]))
    objective = torch.tensor([state.value for state in solved], dtype=torch.float64)
    norm = torch.tensor([problem.largest_entry(state.gradient) for state in solved])
    return Solution(weights, intercepts, objective, norm, norm <= tolerance, passes)


def _refuse(features: Tensor, labels: Tensor, classes: int, strengths: Tensor) -> None:
    if not torch.isfinite(features).all():
        raise FloatingPointError("the features hold NaN or infinity; no model can be fitted to them")
    if classes < 2:
        raise ValueError(f"logistic regression needs at least two classes, got {classes}")
    if labels.numel() == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be in 0..{classes - 1}, and at least one must be given")
    if not bool((strengths > 0).all()):
        raise ValueError(f"strengths must be above zero, got {strengths.tolist()}")


@dataclass(frozen=True)
class _State:
    """A point (rank + 1, classes), and there the objective, its gradient and the mean curvature p(1 - p) by class."""

    points: Tensor
    value: float
    gradient: Tensor
    curvature: Tensor

    def under(self, extra: float) -> "_State":
        """The same point when the strength has grown by ``extra``, which needs no pass over the rows."""
        weights = self.points[:-1]
        value = self.value + extra / 2 * float(weights.square().sum(dtype=torch.float64))
        return _State(self.points, value, self.gradient + extra * _penalised(self.points), self.curvature)


def _penalised(points: Tensor) -> Tensor:
    """The weights alone: the last row is the intercept, which carries no penalty."""
    return torch.cat([points[:-1], torch.zeros_like(points[-1:])])


class _Problem:
    """The data in the eigenbasis of their covariance, one column of ones for the intercept last."""

    def __init__(self, features: Tensor, labels: Tensor, classes: int) -> None:
        self.mean = features.mean(0, dtype=torch.float64).float()
        centred = features.float() - self.mean
        self.basis, self.spectrum = _eigenbasis(centred)
        ones = torch.ones(len(labels), 1, device=features.device)
        self.rows = torch.cat([centred @ self.basis, ones], 1)
        self.labels, self.classes = labels, classes

    def coordinates(self, start: Solution, strengths: int) -> Tensor:
        """Where to start, made to sum to zero over the classes, which changes no probability."""
        intercepts = start.intercepts + start.weights @ self.mean
        points = torch.cat([(start.weights @ self.basis).mT, intercepts[:, None]], 1)
        return (points - points.mean(2, keepdim=True)).expand(strengths, -1, -1)

    def original(self, points: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.basis @ points[:, :-1]).mT.contiguous()
        return weights, points[:, -1] - weights @ self.mean

    def zero(self) -> Tensor:
        return torch.zeros(len(self.spectrum), self.classes, device=self.rows.device)

    def largest_entry(self, gradient: Tensor) -> float:
        """The largest absolute gradient entry in the features' own coordinates."""
        inside = self.basis @ gradient[:-1]
        return float(torch.cat([inside, gradient[-1:]]).abs().max())

    def evaluate(self, points: Tensor, strength: float) -> _State:
        """One pass over the rows."""
        total = len(self.labels)
        loss = torch.zeros((), dtype=torch.float64, device=points.device)
        gradient, curvature = torch.zeros_like(points), torch.zeros_like(points[0])
        for begin in range(0, total, ROWS):
            rows, labels = self.rows[begin : begin + ROWS], self.labels[begin : begin + ROWS]
            chances = torch.softmax(rows @ points, 1)
            curvature += (chances * (1 - chances)).sum(0)
            right = chances.gather(1, labels[:, None])
            # One less a chance near one is nothing but rounding; the sum of the others keeps all its digits.
            wrong = chances.scatter_(1, labels[:, None], 0.0).sum(1, keepdim=True)
            # The floor bounds the loss of a hopeless trial step at 87 nats, where float32 ends.
            losses = torch.where(wrong < 0.5, -torch.log1p(-wrong), -right.clamp_min(1e-38).log())
            loss += losses.sum(dtype=torch.float64)
            gradient.addmm_(rows.T, chances.scatter_(1, labels[:, None], -wrong))
        return _State(points, float(loss) / total, gradient / total, curvature / total).under(strength)

    def inverse(self, curvature: Tensor, strength: float) -> Tensor:
        """One over the Hessian's diagonal: curvature times variance, plus the strength (none for the intercept)."""
        diagonal = self.spectrum[:, None] * curvature.clamp_min(1e-6)
        diagonal[:-1] += strength
        return 1 / diagonal


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


class _Memory:
    """The last steps and gradient changes of L-BFGS."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def add(self, step: Tensor, change: Tensor) -> None:
        self.pairs = [*self.pairs, (step, change)][-HISTORY:]

    def under(self, extra: float) -> None:
        """What the changes would have been had the strength been larger by ``extra``."""
        self.pairs = [(step, change + extra * _penalised(step)) for step, change in self.pairs]

    def direction(self, gradient: Tensor, inverse: Tensor) -> Tensor:
        """L-BFGS's two loops with the inverse preconditioner in the middle; pairs without curvature do not count."""
        pairs = [(step, change, product) for step, change in self.pairs if (product := _dot(step, change)) > 0]
        result, alphas = gradient.clone(), []
        for step, change, product in reversed(pairs):
            alphas.append(_dot(step, result) / product)
            result -= alphas[-1] * change
        result *= inverse
        if pairs:
            # The scale under which the preconditioner fits all pairs best, not the last alone: that is often the step
            # ahead, which is far longer than the others. Three of four problems took fewer passes so.
            products = sum(product for _, _, product in pairs)
            result *= products / max(sum(_dot(change, inverse * change) for _, change, _ in pairs), 1e-38)
        for step, change, product in pairs:
            result += (alphas.pop() - _dot(change, result) / product) * step
        # The weights of the minimum sum to zero over the classes. Gradients and changes do too; so steps stay there.
        return result.mean(1, keepdim=True) - result


def _dot(left: Tensor, right: Tensor) -> float:
    return float(left.flatten() @ right.flatten())


def _solve(
    problem: _Problem, strengths: Sequence[float], starts: Tensor | None, tolerance: float, limit: int
) -> tuple[list[_State], int]:
    """The states in the order of ``strengths``, and how many passes they took."""
    order = sorted(range(len(strengths)), key=lambda index: -strengths[index])
    solved: dict[float, _State] = {}
    state, at, memory, total = None, 0.0, _Memory(), 0
    result: dict[int, _State] = {}
    for index in order:
        strength = strengths[index]
        memory.under(strength - at)
        if state is None or starts is not None:
            state = problem.evaluate(problem.zero() if starts is None else starts[index].contiguous(), strength)
            total += 1
        else:
            state = state.under(strength - at)
        state, passes = _descend(problem, state, strength, memory, _ahead(solved, strength), tolerance, limit)
        if starts is None:
            solved[strength] = state
        result[index], at, total = state, strength, total + passes
    return [result[index] for index in range(len(strengths))], total


def _ahead(solved: dict[float, _State], strength: float) -> Tensor | None:
    """Where the parabola in log strength through the last three solutions is at this one."""
    last = list(solved)[-3:]
    if len(last) < 2 or strength in last:
        return None
    result = torch.zeros_like(solved[last[0]].points)
    for one in last:
        weight = math.prod(math.log(strength / other) / math.log(one / other) for other in last if other != one)
        result += weight * solved[one].points
    return result


def _descend(
    problem: _Problem,
    state: _State,
    strength: float,
    memory: _Memory,
    ahead: Tensor | None,
    tolerance: float,
    limit: int,
) -> tuple[_State, int]:
    """L-BFGS from the state. ``ahead`` is where the first step goes, if that is downhill."""
    direction = memory.direction(state.gradient, problem.inverse(state.curvature, strength))
    if ahead is not None and _dot(state.gradient, ahead - state.points) < 0:
        direction = ahead - state.points
    length, passes = 1.0, 0
    while passes < limit and problem.largest_entry(state.gradient) > tolerance:
        step = direction * length
        trial = problem.evaluate(state.points + step, strength)
        passes += 1
        slope, rise = _dot(state.gradient, step), trial.value - state.value
        # Float32 gradients see further than float32 losses do: a rise within rounding is no refusal.
        if rise <= 1e-4 * slope + 1e-7 * abs(state.value):
            memory.add(step, trial.gradient - state.gradient)
            state, length = trial, 1.0
            direction = memory.direction(state.gradient, problem.inverse(state.curvature, strength))
        else:
            length *= min(max(-slope / (2 * max(rise - slope, 1e-30)), 0.1), 0.5)
    return state, passes
