"""The library's own model of a card, its weights read plainly: ``checkpoint:`` and ``torchhub:`` are held against it.

A card states its preprocessing, no library does: its numbers are put into the library's own transform.
"""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from backbones.adapters import timm_reference, torchhub, torchvision_reference
from backbones.adapters.checkpoint import CardFile, card_path, read_card
from backbones.base import Backbone
from backbones.places import Places
from backbones.reference import Reference, copy_weights, model_of

LIBRARIES_WITH_PATHS = {"timm": timm_reference, "torchvision": torchvision_reference}


def checkpoint(reference: str, places: Places) -> Reference | None:
    """The file that a card names, in the library's own model; None where there is no such path."""
    path = card_path(reference, places)
    card = read_card(path)
    return _trained(card, places.beside(path).find(card.weights, "weights file"))


def hub(reference: str, places: Places) -> Reference | None:
    """The same for a card of ``torchhub.yaml``."""
    card = torchhub.named(reference)
    return _trained(card, torchhub.fetched(reference, card, places))


def untrained_checkpoint(reference: str, backbone: Backbone, places: Places) -> Reference | None:
    """The library's own model with the weights of a card's twin."""
    return _untrained(read_card(card_path(reference, places)), backbone)


def untrained_hub(reference: str, backbone: Backbone, places: Places) -> Reference | None:
    """The same for a card of ``torchhub.yaml``."""
    return _untrained(torchhub.named(reference), backbone)


def _trained(card: CardFile, weights: Path) -> Reference | None:
    if not _has_path(card):
        return None
    model = _build(card)
    model.load_state_dict(_renamed(_read(weights, card.key), card), strict=False)
    return _own_path(card, model)


def _untrained(card: CardFile, backbone: Backbone) -> Reference | None:
    if not _has_path(card):
        return None
    model = _build(card)
    copy_weights(model_of(backbone), model)
    return _own_path(card, model)


def _has_path(card: CardFile) -> bool:
    """Of a model that parts were taken out of, its library has no forward pass."""
    return card.library in LIBRARIES_WITH_PATHS and not card.missing


def _build(card: CardFile) -> nn.Module:
    model: nn.Module = LIBRARIES_WITH_PATHS[card.library].build_plainly(card.architecture, card.kwargs)
    return model


def _own_path(card: CardFile, model: nn.Module) -> Reference:
    path: Reference = LIBRARIES_WITH_PATHS[card.library].stated_path(model, card.preprocess.contract())
    return path


def _read(weights: Path, key: str | None) -> dict[str, Any]:
    whole = (
        load_file(weights)
        if weights.suffix == ".safetensors"
        else torch.load(weights, map_location="cpu", weights_only=True)
    )
    return whole[key] if key else whole  # type: ignore[return-value]


def _renamed(state: dict[str, Any], card: CardFile) -> dict[str, Any]:
    for pattern, replacement in card.rename:
        state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
    return state


REFERENCES = {"checkpoint": checkpoint, "torchhub": hub}
UNTRAINED_REFERENCES = {"checkpoint": untrained_checkpoint, "torchhub": untrained_hub}
