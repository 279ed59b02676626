"""The upstream library's own path from an image to features, which an adapter is certified against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from backbones.plugins import Plugins

REFERENCES = Plugins("source with a reference path", "backbones.adapters", "REFERENCES", "bob.references")
"""``reference(reference, places) -> Reference`` by source, beside the adapter it checks."""


@dataclass(frozen=True)
class Reference:
    """What the library itself computes, with its own processor and its own forward, none of our code in between.

    ``transform`` makes (3, height, width) of an RGB image; ``embed`` and ``feature_maps`` take a batch of those.
    ``feature_maps`` is None where the library has no dense output to compare with. ``tolerance`` bounds the largest
    difference relative to the root mean square of the reference.
    """

    transform: Callable[[Image.Image], Tensor]
    embed: Callable[[Tensor], Tensor]
    feature_maps: Callable[[Tensor], Mapping[int, Tensor]] | None = None
    tolerance: float = 1e-4
