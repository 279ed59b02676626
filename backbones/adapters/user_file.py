"""Your own Python: ``file:PATH.py:FACTORY``, a function that returns a Backbone or a plain nn.Module.

The file is executed: that is what naming it asks for. A plain module maps a (batch, 3, height, width) tensor to
(batch, dim). The file may state ``PREPROCESS`` and ``CARD`` (dictionaries of those contracts' fields) at its top level.
"""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from backbones import own_code
from backbones.adapters.depth import by_block
from backbones.adapters.library import Library
from backbones.base import FAMILIES, Backbone, Card, Preprocess
from backbones.places import Places
from backbones.plugins import unknown
from backbones.weights import weights_sha256

DEFAULT_PREPROCESS = Preprocess(
    size=(224, 224),
    resize=256,
    crop="center",
    interpolation="bicubic",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""What a file gets that states none; its card says so."""

SOURCE = "a file"

_RAN: dict[Path, str] = {}
"""Identity of the code of each file that was run to build a checkpoint's architecture."""

CONTRACT = "a backbone maps images (batch, 3, height, width) to one floating-point vector each, (batch, dim)"


class PlainModule(Backbone):
    """Any ``nn.Module`` that gives one vector an image."""

    def __init__(self, model: nn.Module, card: Card, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.card, self.preprocess = model, card, preprocess
        self.eval()

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The module's output. Raises ``ValueError`` naming the contract where that is not a vector an image."""
        output: Any = self.model(images)
        if not isinstance(output, Tensor):
            raise ValueError(f"{self.card.name} returned a {type(output).__name__}: {CONTRACT}")
        if output.ndim != 2 or len(output) != len(images) or not output.is_floating_point():
            raise ValueError(
                f"{self.card.name} returned {output.dtype} of shape {tuple(output.shape)} "
                f"for images of shape {tuple(images.shape)}: {CONTRACT}"
            )
        return output

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """A plain module has none."""
        raise NotImplementedError(
            f"{self.card.name} is a plain module without dense features; return a backbones.base.Backbone to give them"
        )

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """One group a block, in the order the module registered them."""
        return by_block(self.model)


def load(reference: str, places: Places) -> Backbone:
    """Run the file, call the factory, put what it returns behind the contract.

    The identity covers the weights, the text of the file, and of what it imports of the user's own.
    Raises ``ValueError`` naming file, factory and contract where they do not fit.
    """
    path, factory = locate(reference, places)
    with own_code.run(path) as code:
        model = call(code.module, path, factory)
    stated = getattr(model, "preprocess", None) or getattr(code.module, "PREPROCESS", None)
    preprocess = _preprocess(stated, path)
    card = _card(model, code, f"file:{reference}", path, stated is not None)
    return wrap(model, card, preprocess)


def build(architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module:
    """The factory's module, called with ``kwargs``, for a checkpoint card."""
    path, factory = locate(architecture, places)
    with own_code.run(path) as code:
        model = call(code.module, path, factory, kwargs)
    _RAN[path] = code.sha256
    return model


def built_as(architecture: str, kwargs: dict[str, Any], places: Places) -> str:
    """What weights are put into, for their identity: the user's code counts, as :func:`build` ran it."""
    path, factory = locate(architecture, places)
    return f"file {_RAN[path]} {factory} {json.dumps(kwargs, sort_keys=True)}"


def wrap(model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...] = ()) -> Backbone:
    """A plain module behind the contract; a Backbone stays itself and is given the card."""
    if classes:
        raise ValueError(
            f"{card.name}: `classes` is for timm and torchvision; a Backbone of your own defines classify()"
        )
    if not isinstance(model, Backbone):
        return PlainModule(model, card, preprocess)
    model.card, model.preprocess = card, preprocess
    return model.eval()


def trunk_parameters(model: nn.Module) -> int:
    """All of them: a factory returns a trunk (a Backbone of its own says what belongs to it by ``layers()``)."""
    groups = model.layers() if isinstance(model, Backbone) else [("", list(model.parameters()))]
    return sum(parameter.numel() for _, group in groups for parameter in group)


def locate(reference: str, places: Places) -> tuple[Path, str]:
    """The file and the factory's name. Raises ``ValueError`` or ``FileNotFoundError``."""
    file, _, factory = reference.rpartition(":")
    if not file or not factory.isidentifier():
        raise ValueError(f"'file:{reference}' does not name a factory; write file:PATH.py:FACTORY")
    return places.find(file, "Python file"), factory


def call(module: ModuleType, path: Path, factory: str, kwargs: dict[str, Any] | None = None) -> nn.Module:
    """What the factory returns, checked to be a module. Raises ``ValueError`` naming file and factory."""
    if not callable(function := getattr(module, factory, None)):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise unknown(f"factory in {path}", factory, names)
    try:
        model = function(**(kwargs or {}))
    except Exception as error:
        error.add_note(f"raised by {factory}() of {path}")
        raise
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"{factory}() of {path} returned a {type(model).__name__}; return a Backbone or an nn.Module: {CONTRACT}"
        )
    return model


def _preprocess(stated: Any, path: Path) -> Preprocess:
    if stated is None:
        return DEFAULT_PREPROCESS
    if isinstance(stated, Preprocess):
        return stated
    wanted = {field.name for field in fields(Preprocess)}
    if not isinstance(stated, dict) or not set(stated) <= wanted:
        raise ValueError(f"PREPROCESS of {path} must be a dictionary of {', '.join(sorted(wanted))}; got {stated!r}")
    try:
        return Preprocess(**{**asdict(DEFAULT_PREPROCESS), **stated})
    except (ValueError, TypeError) as error:
        raise ValueError(f"PREPROCESS of {path}: {error}") from None


def _card(model: nn.Module, code: own_code.OwnCode, name: str, path: Path, preprocess_stated: bool) -> Card:
    said: dict[str, Any] = getattr(code.module, "CARD", {})
    wanted = {"family", "architecture", "pretraining_method", "pretraining_data", "revision", "licence"}
    if not isinstance(said, dict) or not set(said) <= wanted or said.get("family", FAMILIES[0]) not in FAMILIES:
        raise ValueError(f"CARD of {path} must be a dictionary of {', '.join(sorted(wanted))}; got {said!r}")
    identity = weights_sha256(model, f"file {code.sha256}")
    if isinstance(own := getattr(model, "card", None), Card):
        return replace(own, weights_sha256=identity)
    plain: dict[str, Any] = {
        "family": "supervised",
        "architecture": type(model).__name__,
        "pretraining_method": "unknown",
        "pretraining_data": "unknown",
        "revision": path.name,
        "licence": "unknown",
    }
    return Card(
        name=name,
        parameters=trunk_parameters(model),
        source=SOURCE if preprocess_stated else "a file that states no preprocessing: 224 of 256, ImageNet's mean",
        weights_sha256=identity,
        **{**plain, **said},
    )


ADAPTERS = {"file": load}
LIBRARIES = {"file": Library(SOURCE, build, wrap, trunk_parameters, built_as)}
