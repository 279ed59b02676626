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
"""``reference(reference, places) -> Reference | None`` by source, beside the adapter it checks."""

UNTRAINED_REFERENCES = Plugins(
    "source with a reference path of twins", "backbones.adapters", "UNTRAINED_REFERENCES", "bob.untrained_references"
)
"""``reference(reference, backbone, places) -> Reference | None`` by source: the library's own model, built anew with
the weights of ``backbone``, its twin."""


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
        if source not in UNTRAINED_REFERENCES.found:
            return None
        untrained: Reference | None = UNTRAINED_REFERENCES.load(source)(inner, backbone, places)
        return untrained
    if source not in REFERENCES.found:
        return None
    reference: Reference | None = REFERENCES.load(source)(inner, places)
    return reference


def not_comparable(why: str) -> Callable[[Image.Image], Tensor]:
    """A transform for what the library has none for: the check says why it does not apply."""

    def transform(image: Image.Image) -> Tensor:
        raise NotImplementedError(why)

    return transform


def model_of(backbone: Backbone) -> nn.Module:
    """The library's model in a backbone that wraps one as ``model``. Raises ``TypeError`` for any other."""
    model = getattr(backbone, "model", None)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{backbone.card.name} is a {type(backbone).__name__}, which holds no library's `model`")
    return model


def copy_weights(twin: nn.Module, fresh: nn.Module) -> None:
    """Put a trimmed twin's weights into the library's whole model; parts that the twin has not stay as drawn.

    Raises ``ValueError`` for weights of the twin that have no place in it.
    """
    unexpected = fresh.load_state_dict(twin.state_dict(), strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"{type(fresh).__name__} has no {', '.join(unexpected[:3])}")
