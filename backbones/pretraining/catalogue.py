"""Methods by name, found by reading their files; imported when they are built."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbones.plugins import Plugin, Plugins

if TYPE_CHECKING:
    from backbones.places import Places
    from backbones.pretraining.encoder import Encoder
    from backbones.pretraining.method import Method, MethodSettings
    from backbones.pretraining.preset import Preset

METHODS = Plugins("pretraining method", "backbones.pretraining.methods", "METHODS", "bob.pretraining_methods")
"""A class of :class:`~backbones.pretraining.method.MethodSettings` by name."""
PRESETS = Plugins("presets of a method", "backbones.pretraining.methods", "PRESETS", "bob.pretraining_presets")
"""``{preset: Preset}`` by the method's name, beside it."""


class Described(NamedTuple):
    """A method as a list shows it; ``family`` and ``needs`` are its class's own, ``needs`` "any" where it says none."""

    name: str
    family: str
    needs: str
    summary: str


def described() -> list[Described]:
    """Every method, from its file's syntax alone: nothing is imported. Of other packages' the family is not known."""
    return [_described(plugin) for plugin in METHODS.found.values()]


def settings_class(method: str) -> "type[MethodSettings]":
    """Raises ``ValueError`` with suggestions for an unknown name."""
    found: type[MethodSettings] = METHODS.load(method)
    return found


def presets(method: str) -> "dict[str, Preset]":
    """The method's presets by name (``cifar``, ``imagenet``)."""
    found: dict[str, Preset] = PRESETS.load(method)
    return found


def build_method(
    settings: "MethodSettings", encoder: "Encoder", images: int, places: "Places | None" = None
) -> "Method":
    """The method for a set of so many images; other backbones that it needs are found in ``places``.

    Raises ``ValueError`` where the encoder is not of the kind the method needs, naming the methods that fit."""
    from backbones.places import Places
    from backbones.pretraining.encoder import TokenEncoder
    from backbones.pretraining.method import Given

    offers = {"any"} | ({"map"} if encoder.map_dim else set())
    offers |= {"tokens"} if isinstance(encoder, TokenEncoder) else set()
    if settings.needs not in offers:
        fitting = [name for name in METHODS.found if settings_class(name).needs in offers]
        raise ValueError(
            f"{type(settings).__name__} needs {_SAID[settings.needs]}, and {encoder.backbone.card.name} has none; "
            f"methods that can train it: {', '.join(fitting)}"
        )
    return settings.build(encoder, Given(images, places or Places()))


def _described(plugin: Plugin) -> Described:
    module = plugin.module.partition(":")[0]
    spec = find_spec(module) if module.startswith(f"{METHODS.package}.") else None
    if spec is None or spec.origin is None:
        return Described(plugin.name, "-", "any", plugin.summary)
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    said = dict(_class_attributes(tree, _class_of(tree, plugin.name)))
    return Described(plugin.name, said.get("family", "-"), said.get("needs", "any"), plugin.summary)


def _class_of(tree: ast.Module, method: str) -> str:
    """The name of the class that the file's METHODS has under a method's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == method and isinstance(value, ast.Name):
                    return value.id
    return ""


def _class_attributes(tree: ast.Module, name: str) -> Iterator[tuple[str, str]]:
    """Constants of a class's body, those of its bases in the same file before its own."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in reversed(node.bases):
                yield from _class_attributes(tree, base.id if isinstance(base, ast.Name) else "")
            for line in node.body:
                match line:
                    case ast.AnnAssign(target=ast.Name(id=attribute), value=ast.Constant(value=str(value))):
                        yield attribute, value


_SAID = {"map": "a backbone with dense features", "tokens": "the tokens of a plain vision transformer of timm"}
