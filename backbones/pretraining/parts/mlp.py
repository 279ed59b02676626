"""Projectors and predictors: a few linear layers with normalisation between them."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(widths: Sequence[int], last_norm: bool = False, norm: bool = True, last_bias: bool = True) -> nn.Sequential:
    """Linear layers from ``widths[0]`` to ``widths[-1]``; between them BatchNorm (where ``norm``) and ReLU.

    ``last_norm`` ends with BatchNorm without scale and shift (SimCLR, MoCo v3, SimSiam's projector), which makes the
    last layer's bias useless: it then has none. A layer before BatchNorm has no bias either.
    """
    layers: list[nn.Module] = []
    pairs = list(pairwise(widths))
    for inside, outside in pairs[:-1]:
        layers += [nn.Linear(inside, outside, bias=not norm), *([nn.BatchNorm1d(outside)] if norm else []), nn.ReLU()]
    layers.append(nn.Linear(*pairs[-1], bias=last_bias and not last_norm))
    if last_norm:
        layers.append(nn.BatchNorm1d(widths[-1], affine=False))
    return nn.Sequential(*layers)
