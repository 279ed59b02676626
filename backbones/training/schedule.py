"""The learning rate of a step, a pure function of the recipe."""

import math

from torch.optim import Optimizer

from backbones.training.recipe import Recipe

FALL = 0.1
"""What a rate that falls in steps is multiplied by at each milestone."""


def learning_rate(recipe: Recipe, step: int, steps_an_epoch: int) -> float:
    """Of step ``step`` (from 0): linear from the warm-up rate to the peak, then half a cosine to the minimum, or steps.

    By step, the first step is at the warm-up rate, and the cosine spans what is left of the training after warm-up
    (its end, the minimum, would be the step after the last). By epoch, as timm's CosineLRScheduler in its defaults
    (no ``warmup_prefix``), the cosine spans all epochs and warm-up takes the place of its beginning.
    """
    if recipe.schedule == "cosine_by_epoch":
        now, warmup, start, end = float(step // steps_an_epoch), recipe.warmup_epochs, 0.0, float(recipe.epochs)
    else:
        warmup = recipe.warmup_epochs * steps_an_epoch
        now, start, end = float(step), warmup, float(recipe.epochs * steps_an_epoch)
    if now < warmup:
        return recipe.warmup_learning_rate + (recipe.learning_rate - recipe.warmup_learning_rate) * now / warmup
    if recipe.schedule == "steps":
        passed = sum(step >= at * steps_an_epoch for at in recipe.milestones)
        return max(recipe.learning_rate * FALL**passed, recipe.minimum_learning_rate)
    span = recipe.learning_rate - recipe.minimum_learning_rate
    return recipe.minimum_learning_rate + span * half_cosine(now, start, end)


def half_cosine(now: float, start: float, end: float) -> float:
    """From 1 at ``start`` to 0 at ``end``.

    >>> half_cosine(0.0, 0.0, 8.0), half_cosine(4.0, 0.0, 8.0), half_cosine(8.0, 0.0, 8.0)
    (1.0, 0.5, 0.0)
    """
    return 0.5 * (1 + math.cos(math.pi * (now - start) / (end - start)))


def weight_decay(recipe: Recipe, step: int, steps_an_epoch: int) -> float:
    """Of step ``step``: the recipe's, or on half a cosine to ``final_weight_decay`` over the whole training."""
    if recipe.final_weight_decay is None:
        return recipe.weight_decay
    left = half_cosine(float(step), 0.0, float(recipe.epochs * steps_an_epoch))
    return recipe.final_weight_decay + (recipe.weight_decay - recipe.final_weight_decay) * left


def set_rates(optimiser: Optimizer, recipe: Recipe, step: int, steps_an_epoch: int) -> None:
    """Every group gets its share (``lr_scale``) of the head's rate or of its peak, and the step's weight decay."""
    rate, decay = learning_rate(recipe, step, steps_an_epoch), weight_decay(recipe, step, steps_an_epoch)
    for group in optimiser.param_groups:
        group["lr"] = (recipe.learning_rate if group["steady"] else rate) * group["lr_scale"]
        group["weight_decay"] = 0.0 if group["plain"] else decay
