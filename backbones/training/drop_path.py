"""Stochastic depth in a model that was built without it: where its architecture has a place for it."""

import re
from typing import Any, cast

import torch
from torch import nn

PLACE = re.compile(r"^drop_path\d*$")
"""What timm calls the place in a residual block; it holds nothing, an identity or a DropPath."""


def set_drop_path(model: nn.Module, rate: float) -> int:
    """Give block i of n the rate ``rate * i / (n - 1)`` (the rule of Huang et al. 2016, equation 4), in place.

    So does timm for its ViTs, Swins, ConvNeXts and ResNets; its EfficientNets divide by n. Blocks are modules with a
    place of timm's name, in the order they are registered, which is by depth. Returns how many there are; 0 where the
    architecture has no place for it, and nothing is changed.
    """
    from timm.layers.drop import DropPath

    blocks = [module for module in model.modules() if _places(module)]
    for block, share in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for place in _places(block):
            setattr(block, place, DropPath(share) if share > 0 else nn.Identity())
    return len(blocks)


def _places(module: nn.Module) -> list[str]:
    """Names of a block's places. timm's ResNet blocks have None where there is no rate, as a plain attribute."""
    from timm.layers.drop import DropPath

    held: dict[str, Any] = {**vars(module), **cast(dict[str, Any], module._modules)}
    return [
        name for name, value in held.items() if PLACE.match(name) and isinstance(value, nn.Identity | DropPath | None)
    ]
