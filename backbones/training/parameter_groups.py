"""Which parameters are trained, and how fast each of them: layer-wise decay, no weight decay on vectors, freezing."""

from itertools import product
from typing import Any

from torch import nn

from backbones.training.recipe import Recipe
from backbones.training.trainee import Follower, Trainee


def parameter_groups(trainee: Trainee, recipe: Recipe) -> list[dict[str, Any]]:
    """For an optimiser: trained parameters by depth, each group with ``names``, ``lr_scale`` and ``weight_decay``.

    ``plain`` groups have no weight decay, ``steady`` ones (``Trainee.steady``) no schedule. The scale of layer i of n
    is ``layer_decay ** (n - 1 - i)``, as in BEiT and timm: the head, last, has 1.
    Raises ``ValueError`` where ``layers()`` and the module's own parameters do not agree.
    """
    names = {id(parameter): name for name, parameter in trainee.named_parameters()}
    layers = _checked_layers(trainee, names)
    still = {id(parameter) for parameter in trainee.steady()}
    groups: list[dict[str, Any]] = []
    for depth, (_, parameters) in enumerate(layers):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for vectors, steady in product((False, True), repeat=2):
            alike = [parameter for parameter in trained if (id(parameter) in still) == steady]
            chosen = [parameter for parameter in alike if (parameter.ndim <= 1) == vectors]
            if chosen:
                plain = vectors and not recipe.decay_vectors
                groups.append(
                    {
                        "params": chosen,
                        "names": [names[id(parameter)] for parameter in chosen],
                        "lr_scale": recipe.layer_decay ** (len(layers) - 1 - depth),
                        "weight_decay": 0.0 if plain else recipe.weight_decay,
                        "plain": plain,
                        "steady": steady,
                    }
                )
    if not groups:
        raise ValueError(
            f"nothing to train: all {len(layers)} layers are frozen (frozen_layers={recipe.frozen_layers})"
        )
    return groups


def freeze_layers(trainee: Trainee, count: int) -> None:
    """No gradients for the first ``count`` layers. Raises ``ValueError`` if that leaves none."""
    layers = trainee.layers()
    if count >= len(layers):
        raise ValueError(
            f"frozen_layers={count} leaves nothing to train: the model has {len(layers)} layers "
            f"({layers[0][0]} ... {layers[-1][0]})"
        )
    for _, parameters in layers[:count]:
        for parameter in parameters:
            parameter.requires_grad_(False)


def train_mode(trainee: nn.Module) -> None:
    """Training mode, but evaluation mode for modules of which every parameter is frozen: no drift, no drop path.

    What follows other weights (:class:`~backbones.training.trainee.Follower`) is not frozen, and trains along.
    """
    trainee.train()
    following = {id(part) for each in trainee.modules() if isinstance(each, Follower) for part in each.modules()}
    for module in trainee.modules():
        parameters = list(module.parameters())
        if id(module) not in following and parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _checked_layers(trainee: Trainee, names: dict[int, str]) -> list[tuple[str, list[nn.Parameter]]]:
    layers = trainee.layers()
    seen: set[int] = set()
    for layer, parameters in layers:
        for parameter in parameters:
            if id(parameter) not in names:
                raise ValueError(
                    f"layer {layer!r} of {type(trainee).__name__} has a parameter that is not the module's"
                )
            if id(parameter) in seen:
                raise ValueError(f"layer {layer!r} of {type(trainee).__name__} repeats {names[id(parameter)]!r}")
            seen.add(id(parameter))
    left = [name for key, name in names.items() if key not in seen]
    left = [name for name in left if trainee.get_parameter(name).requires_grad]
    if left:
        raise ValueError(f"layers() of {type(trainee).__name__} lack {len(left)} trained parameters: {left[:3]}")
    return layers
