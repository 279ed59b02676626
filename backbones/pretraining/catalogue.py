"""Methods by name, found by reading their files; imported when they are built."""

from typing import TYPE_CHECKING

from backbones.plugins import Plugins

if TYPE_CHECKING:
    from backbones.pretraining.encoder import Encoder
    from backbones.pretraining.method import Method, MethodSettings
    from backbones.pretraining.preset import Preset

METHODS = Plugins("pretraining method", "backbones.pretraining.methods", "METHODS", "bob.pretraining_methods")
"""A class of :class:`~backbones.pretraining.method.MethodSettings` by name."""
PRESETS = Plugins("presets of a method", "backbones.pretraining.methods", "PRESETS", "bob.pretraining_presets")
"""``{preset: Preset}`` by the method's name, beside it."""


def settings_class(method: str) -> "type[MethodSettings]":
    """Raises ``ValueError`` with suggestions for an unknown name."""
    found: type[MethodSettings] = METHODS.load(method)
    return found


def presets(method: str) -> "dict[str, Preset]":
    """The method's presets by name (``cifar``, ``imagenet``)."""
    found: dict[str, Preset] = PRESETS.load(method)
    return found


def build_method(settings: "MethodSettings", encoder: "Encoder", images: int) -> "Method":
    """Raises ``ValueError`` where the encoder is not of the kind the method needs, naming the methods that fit."""
    from backbones.pretraining.encoder import TokenEncoder

    offers = {"any"} | ({"map"} if encoder.map_dim else set())
    offers |= {"tokens"} if isinstance(encoder, TokenEncoder) else set()
    if settings.needs not in offers:
        fitting = [name for name in METHODS.found if settings_class(name).needs in offers]
        raise ValueError(
            f"{type(settings).__name__} needs {_SAID[settings.needs]}, and {encoder.backbone.card.name} has none; "
            f"methods that can train it: {', '.join(fitting)}"
        )
    return settings.build(encoder, images)


_SAID = {"map": "a backbone with dense features", "tokens": "the tokens of a plain vision transformer of timm"}
