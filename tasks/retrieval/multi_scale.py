"""The same backbone fed a smaller or larger input: features at several scales (Radenovic et al. 2018)."""

import copy
from dataclasses import replace

import torch

from backbones.base import Backbone, freeze
from backbones.inference import Layer, call_of


def scaled(backbone: Backbone, scale: float) -> Backbone:
    """The backbone, its weights shared, whose preprocessing ends at ``scale`` times the side; the crop stays the same.

    Features are cached by preprocessing, so those of each scale have a place of their own.
    """
    if scale == 1:
        return backbone
    other, before = copy.copy(backbone), backbone.preprocess
    height, width = (max(1, round(side * scale)) for side in before.size)
    other.preprocess = replace(before, size=(height, width), resize=max(1, round(before.resize * scale)))
    return other


def check_scale(backbone: Backbone, layer: Layer) -> None:
    """Put one blank image through. Raises ``ValueError`` where the backbone takes no input of that size."""
    freeze(backbone)
    device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            call_of(backbone, layer)(torch.zeros(1, 3, *backbone.preprocess.size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = backbone.preprocess.size
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{backbone.card.name} cannot be read at {height} x {width} pixels, one of the scales asked for: {why}"
        ) from error
