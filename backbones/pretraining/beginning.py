"""What a training begins with, so that a card can say how to build it again: drawn weights, or those of a backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from backbones.adapters import torchhub
from backbones.adapters.checkpoint import CardFile, card_path, read_card
from backbones.adapters.library import LIBRARIES, Library
from backbones.base import Backbone, Card
from backbones.catalogue import load, resolve
from backbones.places import Places
from backbones.pretraining.fresh import fresh
from backbones.reference import model_of
from backbones.weights import drop_declared

WITHOUT_HEAD = {"timm": {"num_classes": 0}, "small_stem": {"num_classes": 0}}
"""Arguments by library that leave a classifier out: nothing of it would be trained."""
CARDS = ("checkpoint", "torchhub")
TRAINABLE = ("timm", "small_stem", "torchvision", "open_clip")
"""Libraries whose architectures can be built again from a name and arguments alone."""
SAME_OUTPUT = 1e-4
"""Largest difference from the backbone begun from, relative to the root mean square of its embedding."""


@dataclass(frozen=True)
class Architecture:
    """As cards write it: of a ``library`` by ``name``, with ``kwargs``, without the modules named by ``missing``."""

    library: str
    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


class Beginning(NamedTuple):
    """``parent`` is the card of the backbone whose weights these are; None where they were drawn."""

    backbone: Backbone
    architecture: Architecture
    parent: Card | None


def drawn(architecture: str, kwargs: Mapping[str, Any], size: int, seed: int, places: Places) -> Beginning:
    """``LIBRARY:NAME`` as its library initialises it, from ``seed``, for images of ``size`` pixels.

    Raises ``ValueError`` for a library, a name or an argument that does not exist.
    """
    library, _, name = architecture.partition(":")
    if library not in TRAINABLE or not name:
        raise ValueError(f"architecture {architecture!r} must be LIBRARY:NAME with one of {', '.join(TRAINABLE)}")
    arguments = {**WITHOUT_HEAD.get(library, {}), **kwargs}
    return Beginning(
        fresh(architecture, arguments, size, seed, places), Architecture(library, name, arguments), parent=None
    )


def begun_from(name: str, size: int | None, places: Places) -> Beginning:
    """A backbone of the catalogue to go on training, without its head; ``size`` None is its own.

    Raises ``ValueError`` for one whose architecture no card can say; else the errors of loading it.
    """
    parent = load(name, places)
    architecture = _architecture(resolve(name), parent.card, places)
    library: Library = LIBRARIES.load(architecture.library)
    with torch.random.fork_rng(devices=[]):
        model = library.build(architecture.name, dict(architecture.kwargs), places)
    drop_declared(model, architecture.missing)
    theirs, own = model_of(parent).state_dict(), model.state_dict()
    if lacking := [each for each in own if each not in theirs or theirs[each].shape != own[each].shape]:
        raise ValueError(f"cannot begin from {name!r}: {architecture.name} also has {', '.join(lacking[:3])}")
    model.load_state_dict({each: theirs[each] for each in own})
    preprocess = parent.preprocess
    if size is not None:
        preprocess = replace(preprocess, size=(size, size), resize=size)
    backbone = library.wrap(model, parent.card, preprocess, ())
    _check_same(backbone, parent)
    return Beginning(backbone, architecture, parent.card)


def _architecture(name: str, card: Card, places: Places) -> Architecture:
    """How a card would say it."""
    source, _, reference = name.partition(":")
    if source in CARDS:
        found: CardFile = torchhub.named(reference) if source == "torchhub" else read_card(card_path(reference, places))
        if found.library in TRAINABLE:
            # A card may leave the head out by its own words; then there are no outputs to ask for none of.
            headless = {} if found.missing else WITHOUT_HEAD.get(found.library, {})
            return Architecture(found.library, found.architecture, {**found.kwargs, **headless}, found.missing)
    if source in TRAINABLE:
        return Architecture(source, card.architecture, WITHOUT_HEAD.get(source, {}))
    raise ValueError(
        f"cannot begin from {name!r}: no card can say how to build it again. Begin from a backbone of "
        f"{', '.join(each for each in (*TRAINABLE, *CARDS) if each != 'small_stem')}, or from an architecture (--arch)"
    )


@torch.no_grad()
def _check_same(backbone: Backbone, parent: Backbone) -> None:
    """A library may set a model up for its weights in ways that its arguments do not say: then they are others'."""
    image = torch.linspace(-1, 1, 3 * parent.preprocess.size[0] * parent.preprocess.size[1])
    image = image.reshape(1, 3, *parent.preprocess.size)
    theirs, ours = parent.eval().embed(image), backbone.eval().embed(image)
    if theirs.shape != ours.shape or (theirs - ours).abs().max() > SAME_OUTPUT * theirs.square().mean().sqrt():
        raise ValueError(
            f"cannot begin from {parent.card.name!r}: its weights in a plain {backbone.card.architecture} give other "
            "embeddings; name the weights in a card with the right `kwargs`, and begin from checkpoint:CARD.yaml"
        )
