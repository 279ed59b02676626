"""The upstream library's own path from an image to features, which an adapter is certified against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image
from torch import Tensor, nn

from backbones.adapters.random_weights import split_seed
from backbones.base import Backbone
from backbones.catalogue import resolve
from backbones.places import Places
from backbones.plugins import Plugins

REFERENCES = Plugins("source with a reference path", "backbones.adapters", "REFERENCES", "bob.references")
"""``reference(reference, places) -> Reference`` by source, beside the adapter it checks."""

UNTRAINED_REFERENCES = Plugins(
    "source with a reference path of twins", "backbones.adapters", "UNTRAINED_REFERENCES", "bob.untrained_references"
)
"""``reference(reference, model) -> Reference`` by source: the library's own model with the weights of ``model``."""


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


def reference_of(name: str, backbone: Backbone, places: Places) -> Reference | None:
    """The reference path of a backbone's source; None where its source has none.

    A random twin is held against its library's model with the twin's weights in it.
    """
    source, _, inner = resolve(name).partition(":")
    if source == "random":
        source, _, inner = resolve(split_seed(inner)[0]).partition(":")
        model = getattr(backbone, "model", None)
        if source not in UNTRAINED_REFERENCES.found or not isinstance(model, nn.Module):
            return None
        untrained: Reference = UNTRAINED_REFERENCES.load(source)(inner, model)
        return untrained
    if source not in REFERENCES.found:
        return None
    reference: Reference = REFERENCES.load(source)(inner, places)
    return reference
