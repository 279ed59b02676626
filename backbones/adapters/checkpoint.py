"""Weights of your own in a known architecture: ``checkpoint:CARD.yaml``, a card that says what the file is.

What ``bob pretrain`` publishes has such a card and a name: ``checkpoint:RUN@STEP``, or ``checkpoint:RUN`` (the newest).
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from backbones.adapters.library import LIBRARIES, Library
from backbones.base import Backbone, Card, Classifier, Crop, Family, Interpolation, Preprocess
from backbones.places import Places
from backbones.plugins import unknown
from backbones.pretraining.runs import published_card
from backbones.strict_yaml import read_yaml
from backbones.weights import (
    NotPlainError,
    drop_declared,
    load_strictly,
    read_weights,
    renamed,
    unpickle_weights,
    weights_sha256,
)

Positive = Annotated[int, Field(gt=0)]


def _known_library(name: str) -> str:
    if name not in LIBRARIES.found:
        raise unknown("library", name, LIBRARIES.found)
    return name


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Rule = tuple[Annotated[str, AfterValidator(_regular_expression)], str]


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


class LineageFields(_Strict):
    """How weights came to be in a run of pretraining.

    ``recipe_sha256`` is of all its settings, ``data`` the images' manifest, ``step`` how many steps were made,
    ``parent`` the name of the backbone it began from and its weights' hash, None where they were drawn.
    """

    run: str
    method: str
    recipe_sha256: str
    data: str
    step: int
    parent: str | None = None


class CardFile(_Strict):
    """What a card says. ``weights`` and ``classes`` are paths beside the card or below the data root.

    ``library`` is one of :data:`backbones.adapters.library.LIBRARIES`. ``key`` names the entry of the file that holds
    the weights. ``rename`` is rules for their names (a regular expression and its replacement, in order); what
    follows is about the names that result. ``missing`` declares modules (patterns of weight names,
    ``head.*``) that the file does not have: they are taken out of the architecture, so that nothing random takes part.
    ``unexpected`` declares weights of the file to leave unread. ``classes`` (a list, or a JSON or text file) names
    the head's outputs; without it the head is not handed out. ``lineage`` is what ``bob pretrain`` adds.
    """

    name: str
    weights: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    key: str | None = None
    library: Annotated[str, AfterValidator(_known_library)]
    architecture: str
    kwargs: dict[str, Any] = {}
    preprocess: PreprocessFields
    family: Family
    pretraining: PretrainingFields
    licence: str
    revision: str
    classes: str | tuple[str, ...] = ()
    rename: tuple[Rule, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    lineage: LineageFields | None = None


Kind = TypeVar("Kind", bound=CardFile)


def load(reference: str, places: Places) -> Backbone:
    """Build the card's architecture and load its weights strictly.

    Raises ``ValueError`` listing every mistake of the card, or every weight that does not fit; ``FileNotFoundError``.
    """
    path = card_path(reference, places)
    card, near = read_card(path), places.beside(path)
    try:
        return assemble(f"checkpoint:{card.name}", card, near.find(card.weights, "weights file"), near)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def untrained(reference: str, places: Places) -> Backbone:
    """The card's architecture and preprocessing without its weights, which need not be there."""
    path = card_path(reference, places)
    card = read_card(path)
    return assemble(f"checkpoint:{card.name}", card, None, places.beside(path))


def card_path(reference: str, places: Places) -> Path:
    """The card that a path, ``RUN@STEP`` or ``RUN`` means. Raises ``ValueError`` or ``FileNotFoundError``."""
    return published_card(reference, places) or places.find(reference, "card")


def assemble(name: str, card: CardFile, weights: Path | None, places: Places) -> Backbone:
    """The backbone that ``card`` describes, with the weights of that file, or untrained.

    Raises ``ValueError`` listing every weight that does not fit.
    """
    library: Library = LIBRARIES.load(card.library)
    how = built = ""
    if weights is not None:
        _check_sha256(weights, card.sha256)
    if weights is not None and library.read_whole is not None:
        refuse_untrusted(card, places)
        model, built = library.read_whole(weights, places), f" {_sha256(weights)}"
    else:
        model = library.build(card.architecture, card.kwargs, places)
        drop_declared(model, card.missing)
        if weights is not None:
            state, how = _read(weights, card.key, places)
            load_strictly(model, renamed(state, card.rename), card.unexpected)
    return _wrap(name, card, model, places, how, built)


def refuse_untrusted(card: CardFile, places: Places) -> None:
    """Raises ``ValueError`` for a file that would run code when read, unless a person said to trust it."""
    library: Library = LIBRARIES.load(card.library)
    if library.read_whole is not None and not places.trust:
        raise ValueError(
            f"{card.weights} is {card.library}: it holds code that runs when it is read; where you trust its origin, "
            "allow it with --trust, which is recorded"
        )


def _read(weights: Path, key: str | None, places: Places) -> tuple[dict[str, Tensor], str]:
    """The weights, and what the card's source has to say of how they were read."""
    try:
        return read_weights(weights, key), ""
    except NotPlainError:
        if not places.trust:
            raise
        return unpickle_weights(weights, key), " (weights unpickled on trust)"


def read_card(path: Path) -> CardFile:
    """Read a card. Raises one ``ValueError`` with a line for each of its mistakes."""
    return card_of(read_yaml(path), str(path), CardFile)


def card_of(content: Any, origin: str, kind: type[Kind]) -> Kind:
    """A card of that kind from what its file says; ``origin`` names it in the error that lists all its mistakes."""
    if not isinstance(content, dict):
        raise ValueError(f"{origin}: a card is a mapping with the keys {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        mistakes = [f"  {'.'.join(map(str, each['loc']))}: {_say(each)}" for each in error.errors()]
        raise ValueError("\n".join([f"{origin}: {len(mistakes)} mistakes in this card", *mistakes])) from None


def _say(mistake: Any) -> str:
    if mistake["type"] == "extra_forbidden":
        return f"no such key; there are: {', '.join(CardFile.model_fields)}"
    if mistake["type"] == "missing":
        return "must be given"
    return f"{mistake['msg']}; got {mistake['input']!r}"


def _wrap(name: str, card: CardFile, model: nn.Module, places: Places, how: str, built: str) -> Backbone:
    """``how`` the weights were read is said in the card's source; ``built`` adds to their identity."""
    library: Library = LIBRARIES.load(card.library)
    described = Card(
        name=name,
        family=card.family,
        architecture=card.architecture,
        parameters=library.trunk_parameters(model),
        pretraining_method=card.pretraining.method,
        pretraining_data=card.pretraining.data,
        source=library.source + how,
        revision=card.revision,
        licence=card.licence,
        weights_sha256=weights_sha256(model, library.built_as(card.architecture, card.kwargs, places) + built),
    )
    classes = _class_names(card, places)
    backbone = library.wrap(model, described, card.preprocess.contract(), classes)
    if isinstance(backbone, Classifier):
        _check_head(backbone, backbone.preprocess.size)
    return backbone


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


def _check_head(classifier: Classifier, size: tuple[int, int]) -> None:
    with torch.no_grad():
        outputs = classifier.classify(torch.zeros(1, 3, *size)).shape[1]
    if outputs != len(classifier.classes):
        raise ValueError(f"`classes` names {len(classifier.classes)}, but the head has {outputs} outputs")


def _check_sha256(path: Path, stated: str | None) -> None:
    if stated is not None and (found := _sha256(path)) != stated:
        raise ValueError(f"{path}: the card states sha256 {stated}, but this file's is {found}: it is another file")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


ADAPTERS = {"checkpoint": load}
UNTRAINED = {"checkpoint": untrained}
