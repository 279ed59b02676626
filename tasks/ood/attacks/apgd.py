"""Auto-PGD (Croce and Hein 2020, algorithm 1): PGD with momentum whose step is halved where it stops to help.

    z = P(x_k + s steepest(grad f(x_k)));  x_(k+1) = P(x_k + a (z - x_k) + (1 - a) (x_k - x_(k-1))),  a = 0.75,

from a step s of two radii. At checkpoints w_j = ceil(p_j N), p_0 = 0, p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) -
0.03, 0.06), the step is halved and the best point so far taken up again where, since the checkpoint before, the loss
rose in fewer than 0.75 of the steps, or neither step nor best loss changed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.ood.attacks.losses import Aim, ascent, targeted_dlr
from tasks.ood.attacks.threat import Batch, Model, Threat, is_right

KEPT, ENOUGH = 0.75, 0.75
"""a, and the share of steps that must raise the loss."""
PURPOSE = 3


def checkpoints(steps: int) -> list[int]:
    """The w_j from w_1 on that are not beyond ``steps``.

    >>> checkpoints(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    before, at, found = 0.0, 0.22, []
    while (step := math.ceil(round(at * steps, 9))) <= steps:
        found.append(step)
        before, at = at, at + max(at - before - 0.03, 0.06)
    return list(dict.fromkeys(found))


@dataclass
class _State:
    """Of each image that is not yet done: where it is among all, where it has come to, and what the best was."""

    row: Int[Tensor, " b"]
    point: Float[Tensor, "b 3 height width"]
    before: Float[Tensor, "b 3 height width"]
    gradient: Float[Tensor, "b 3 height width"]
    loss: Float[Tensor, " b"]
    best: Float[Tensor, "b 3 height width"]
    best_gradient: Float[Tensor, "b 3 height width"]
    best_loss: Float[Tensor, " b"]
    step: Float[Tensor, " b"]
    rises: Int[Tensor, " b"]
    halved: Bool[Tensor, " b"]
    last_best: Float[Tensor, " b"]

    def only(self, kept: Bool[Tensor, " b"]) -> "_State":
        return self if bool(kept.all()) else _State(*(getattr(self, each.name)[kept] for each in fields(self)))

    def seen(self, losses: Tensor, gradient: Tensor) -> None:
        """The loss and gradient at ``point``."""
        self.rises += losses > self.loss
        self.loss, self.gradient = losses, gradient
        higher = losses > self.best_loss
        wide = higher[:, None, None, None]
        self.best = torch.where(wide, self.point, self.best)
        self.best_gradient = torch.where(wide, gradient, self.best_gradient)
        self.best_loss = torch.where(higher, losses, self.best_loss)

    def check(self, steps: int) -> None:
        """At a checkpoint ``steps`` after the one before."""
        stuck = ~self.halved & (self.best_loss == self.last_best)
        self.halved = (self.rises < ENOUGH * steps) | stuck
        wide = self.halved[:, None, None, None]
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.point = torch.where(wide, self.best, self.point)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)
        self.loss = torch.where(self.halved, self.best_loss, self.loss)
        self.last_best, self.rises = self.best_loss, torch.zeros_like(self.rises)


@dataclass(frozen=True)
class APGD:
    """``steps`` steps up ``loss`` (cross-entropy, DLR) from a random point; an image that is fooled is done."""

    steps: int
    loss: Callable[..., Tensor]

    def __call__(self, model: Model, batch: Batch, threat: Threat) -> Float[Tensor, "batch 3 height width"]:
        """For each image the first point taken for another class, else the one of the highest loss."""
        return climb(model, batch, Aim(self.loss, batch.labels), threat, self.steps, PURPOSE)


@dataclass(frozen=True)
class TargetedAPGD:
    """Auto-PGD with the targeted DLR loss towards each of the ``targets`` highest other classes in turn."""

    steps: int
    targets: int

    def __call__(self, model: Model, batch: Batch, threat: Threat) -> Float[Tensor, "batch 3 height width"]:
        """For each image the first point taken for another class, else the best towards the last target."""
        moved = batch.images.clone()
        with torch.no_grad():
            logits = model(batch.images)
        others = logits.scatter(1, batch.labels[:, None], -torch.inf)
        ranked = others.topk(min(self.targets, logits.shape[1] - 1), dim=1).indices
        left = torch.arange(len(batch), device=moved.device)
        for turn, target in enumerate(ranked.T):
            aim = Aim(targeted_dlr, batch.labels[left], target[left])
            moved[left] = climb(model, batch.at(left), aim, threat, self.steps, PURPOSE + 1 + turn)
            with torch.no_grad():
                left = left[is_right(model(moved[left]), batch.labels[left])]
            if not len(left):
                break
        return moved


def climb(
    model: Model, batch: Batch, aim: Aim, threat: Threat, steps: int, purpose: int
) -> Float[Tensor, "batch 3 height width"]:
    """Auto-PGD on any aim. ``purpose`` tells its random start from others'."""
    found = threat.random(batch, purpose)
    logits, losses, gradient = ascent(model, found, aim)
    state = _begun(found, losses, gradient, 2 * threat.radius).only(is_right(logits, batch.labels))
    last, due = 0, checkpoints(steps)
    for step in range(1, steps + 1):
        if not len(state.row):
            break
        images, left = batch.images[state.row], aim.at(state.row)
        state.before, state.point = state.point, _next(state, images, threat, 1.0 if step == 1 else KEPT)
        logits, losses, gradient = ascent(model, state.point, left)
        state.seen(losses, gradient)
        right = is_right(logits, left.labels)
        found[state.row] = torch.where(right[:, None, None, None], state.best, state.point)
        if step in due:
            state.check(step - last)
            last = step
        state = state.only(right)
    return found


def _begun(point: Tensor, losses: Tensor, gradient: Tensor, step: float) -> _State:
    count = len(losses)
    return _State(
        row=torch.arange(count, device=point.device),
        point=point.clone(),
        before=point,
        gradient=gradient,
        loss=losses,
        best=point.clone(),
        best_gradient=gradient,
        best_loss=losses,
        step=losses.new_full((count,), step),
        rises=torch.zeros(count, dtype=torch.long, device=point.device),
        halved=torch.ones(count, dtype=torch.bool, device=point.device),  # so that the first checkpoint is not "stuck"
        last_best=losses,
    )


def _next(state: _State, images: Tensor, threat: Threat, kept: float) -> Float[Tensor, "b 3 height width"]:
    step = state.step[:, None, None, None]
    ahead = threat.project(state.point + step * threat.steepest(state.gradient), images)
    momentum = state.point - state.before
    return threat.project(state.point + kept * (ahead - state.point) + (1 - kept) * momentum, images)
