"""Checkpoints that live at an address and nowhere else: ``torchhub:dino_resnet50``, a card of ``torchhub.yaml``."""

from functools import cache
from pathlib import Path

import torch

from backbones.adapters.checkpoint import CardFile, assemble, card_of, refuse_untrusted
from backbones.adapters.hub import download
from backbones.base import Backbone
from backbones.places import Places
from backbones.plugins import unknown
from backbones.strict_yaml import read_yaml

CARDS = Path(__file__).parent / "torchhub.yaml"


class HubCard(CardFile):
    """A card whose weights are at ``url``; ``weights`` is their file's name in torch's cache or below the data root."""

    url: str


def load(reference: str, places: Places) -> Backbone:
    """Load a checkpoint from the data root, torch's cache, or its address.

    Raises ``ValueError`` for an unknown name, weights that do not fit or a file that needs ``--trust``, ``OSError``
    where it cannot be had.
    """
    card = named(reference)
    refuse_untrusted(card, places)
    file = fetched(reference, card, places)
    try:
        return assemble(f"torchhub:{reference}", card, file, places)
    except ValueError as error:
        raise ValueError(f"torchhub:{reference}: {error}") from None


def untrained(reference: str, places: Places) -> Backbone:
    """The card's architecture and preprocessing without its weights, which need not be there."""
    return assemble(f"torchhub:{reference}", named(reference), None, places)


@cache
def cards() -> dict[str, HubCard]:
    """Every card by its name."""
    content = read_yaml(CARDS)
    return {name: card_of({"name": name, **fields}, f"{CARDS} {name}", HubCard) for name, fields in content.items()}


def named(name: str) -> HubCard:
    """A card by name. Raises ``ValueError`` with suggestions."""
    if name not in cards():
        raise unknown("torchhub checkpoint", name, cards())
    return cards()[name]


def fetched(reference: str, card: HubCard, places: Places) -> Path:
    """The file of a card's weights, fetched where it is not there. Raises ``OSError`` saying where to get it."""
    try:
        return places.find(card.weights, "weights file")
    except FileNotFoundError:
        kept = Path(torch.hub.get_dir()) / "checkpoints" / card.weights
    if not kept.exists():
        try:
            download(card.url, kept, card.sha256)
        except OSError as error:
            raise OSError(
                f"cannot fetch the weights of torchhub:{reference} ({error}). Get {card.url} on a machine with a "
                f"network and put it, as {card.weights}, into {kept.parent} or below --data-root"
            ) from None
    return kept


ADAPTERS = {"torchhub": load}
UNTRAINED = {"torchhub": untrained}
