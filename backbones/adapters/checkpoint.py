"""Weights of your own in a known architecture: ``checkpoint:CARD.yaml``, a card that says what the file is."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from backbones.base import Backbone, Card, Classifier, Crop, Family, Interpolation, Preprocess
from backbones.places import Places
from backbones.strict_yaml import read_yaml
from backbones.weights import drop_declared, load_strictly, read_weights, weights_sha256

Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PreprocessFields(_Strict):
    """How the weights want their images; see :class:`backbones.base.Preprocess`."""

    size: Positive | tuple[Positive, Positive]
    resize: Positive | None = None
    crop: Crop = "center"
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]

    def contract(self) -> Preprocess:
        """The contract's form: ``resize`` left out means the crop is the whole shorter side."""
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        return Preprocess(size, self.resize or min(size), self.crop, self.interpolation, self.mean, self.std)


class PretrainingFields(_Strict):
    """Where the weights come from."""

    method: str
    data: str


class CardFile(_Strict):
    """What a card says. ``weights`` and ``classes`` are paths beside the card or below the data root.

    ``key`` names the entry of the file that holds the weights. ``missing`` declares modules (patterns of weight names,
    ``head.*``) that the file does not have: they are taken out of the architecture, so that nothing random takes part.
    ``unexpected`` declares weights of the file to leave unread. ``classes`` (a list, or a JSON or text file) names
    the head's outputs; without it the head is not handed out.
    """

    name: str
    weights: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    key: str | None = None
    library: Literal["timm", "torchvision", "file"]
    architecture: str
    kwargs: dict[str, Any] = {}
    preprocess: PreprocessFields
    family: Family
    pretraining: PretrainingFields
    licence: str
    revision: str
    classes: str | tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


@runtime_checkable
class Library(Protocol):
    """What a card needs of the adapter whose architecture it names."""

    SOURCE: str

    def build(self, architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module: ...

    def wrap(self, model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...]) -> Backbone: ...

    def trunk_parameters(self, model: nn.Module) -> int: ...

    def built_as(self, architecture: str, kwargs: dict[str, Any], places: Places) -> str: ...


def load(reference: str, places: Places) -> Backbone:
    """Build the card's architecture and load its weights strictly.

    Raises ``ValueError`` listing every mistake of the card, or every weight that does not fit; ``FileNotFoundError``.
    """
    path = places.find(reference, "card")
    card, near = read_card(path), places.beside(path)
    weights = near.find(card.weights, "weights file")
    _check_sha256(weights, card.sha256)
    model = _architecture(card, near)
    try:
        load_strictly(model, read_weights(weights, card.key), card.unexpected)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _wrap(reference, card, model, near)


def untrained(reference: str, places: Places) -> Backbone:
    """The card's architecture and preprocessing without its weights, which need not be there."""
    path = places.find(reference, "card")
    card, near = read_card(path), places.beside(path)
    return _wrap(reference, card, _architecture(card, near), near)


def read_card(path: Path) -> CardFile:
    """Read a card. Raises one ``ValueError`` with a line for each of its mistakes."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a card is a mapping with the keys {', '.join(CardFile.model_fields)}")
    try:
        return CardFile.model_validate(content)
    except ValidationError as error:
        mistakes = [f"  {'.'.join(map(str, each['loc']))}: {_say(each)}" for each in error.errors()]
        raise ValueError("\n".join([f"{path}: {len(mistakes)} mistakes in this card", *mistakes])) from None


def _say(mistake: Any) -> str:
    if mistake["type"] == "extra_forbidden":
        return f"no such key; there are: {', '.join(CardFile.model_fields)}"
    if mistake["type"] == "missing":
        return "must be given"
    return f"{mistake['msg']}; got {mistake['input']!r}"


def _architecture(card: CardFile, places: Places) -> nn.Module:
    model = _library(card).build(card.architecture, card.kwargs, places)
    drop_declared(model, card.missing)
    return model


def _wrap(reference: str, card: CardFile, model: nn.Module, places: Places) -> Backbone:
    library = _library(card)
    described = Card(
        name=f"checkpoint:{card.name}",
        family=card.family,
        architecture=card.architecture,
        parameters=library.trunk_parameters(model),
        pretraining_method=card.pretraining.method,
        pretraining_data=card.pretraining.data,
        source=library.SOURCE,
        revision=card.revision,
        licence=card.licence,
        weights_sha256=weights_sha256(model, library.built_as(card.architecture, card.kwargs, places)),
    )
    classes = _class_names(card, places)
    backbone = library.wrap(model, described, card.preprocess.contract(), classes)
    if isinstance(backbone, Classifier):
        _check_head(backbone, backbone.preprocess.size, reference)
    return backbone


def _library(card: CardFile) -> Library:
    if card.library == "timm":
        from backbones.adapters import timm_models

        return timm_models
    if card.library == "torchvision":
        from backbones.adapters import torchvision_models

        return torchvision_models
    from backbones.adapters import user_file

    return user_file


def _class_names(card: CardFile, places: Places) -> tuple[str, ...]:
    if not isinstance(card.classes, str):
        return card.classes
    path = places.find(card.classes, "class list")
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return tuple(text.splitlines())
    try:
        return tuple(each if isinstance(each, str) else each["wnid"] for each in json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{path}: must be a JSON list of names, or of objects with a `wnid`") from None


def _check_head(classifier: Classifier, size: tuple[int, int], reference: str) -> None:
    with torch.no_grad():
        outputs = classifier.classify(torch.zeros(1, 3, *size)).shape[1]
    if outputs != len(classifier.classes):
        raise ValueError(f"{reference}: `classes` names {len(classifier.classes)}, but the head has {outputs} outputs")


def _check_sha256(path: Path, stated: str | None) -> None:
    if stated is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != stated:
        raise ValueError(f"{path}: the card states sha256 {stated}, but this file's is {found}: it is another file")


ADAPTERS = {"checkpoint": load}
UNTRAINED = {"checkpoint": untrained}
