"""The optimisers, torch's and timm's, with the options the recipe gives them."""

from typing import Any

import torch
from torch.optim import Optimizer

from backbones.training.recipe import Recipe


def optimiser_of(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over groups of :func:`parameter_groups`."""
    first: dict[str, Any] = {"lr": recipe.learning_rate}
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, betas=recipe.betas, **first)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **first)
    from timm.optim.lars import Lars
    from timm.optim.muon import Muon

    if recipe.optimiser == "lars":  # the trust ratio acts where weight decay may, even where that is 0
        adapted = [{**group, "always_adapt": not group["plain"]} for group in groups]
        first |= {"trust_coeff": recipe.trust_coefficient, "trust_clip": recipe.trust_clip}
        return Lars(adapted, momentum=recipe.momentum, nesterov=recipe.nesterov, **first)
    if recipe.optimiser == "muon":  # a classifier and an embedding are no hidden matrices, but few codes except them
        return Muon(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, betas=recipe.betas, **first)
    raise AssertionError(recipe.optimiser)
