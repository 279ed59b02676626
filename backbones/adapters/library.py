"""Libraries of architectures: what a card (``library: timm``) needs of the adapter whose architecture it names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.plugins import Plugins

LIBRARIES = Plugins("library", "backbones.adapters", "LIBRARIES", "bob.libraries")
"""A :class:`Library` by the name cards use, beside the adapter of its models."""


@dataclass(frozen=True)
class Library:
    """How to build an untrained architecture and to put it behind the contract.

    ``source`` names the library and its version. ``build`` raises ``ValueError`` for a name or an argument it does not
    know. ``built_as`` says what weights are put into, for their identity. ``read_whole`` is for files that hold their
    architecture themselves (TorchScript): it gives the module, and ``build`` has nothing to build.
    """

    source: str
    build: Callable[[str, dict[str, Any], Places], nn.Module]
    wrap: Callable[[nn.Module, Card, Preprocess, tuple[str, ...]], Backbone]
    trunk_parameters: Callable[[nn.Module], int]
    built_as: Callable[[str, dict[str, Any], Places], str]
    read_whole: Callable[[Path, Places], nn.Module] | None = None
