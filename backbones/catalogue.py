"""Backbones by name: ``source:reference``, an alias of the catalogue, or a plug-in's own prefix.

The catalogue itself is data (``catalogue.csv``, a line an entry). Loading a name imports that source's library only.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.places import Places
from backbones.plugins import Plugins, unknown

if TYPE_CHECKING:
    from backbones.base import Backbone

ADAPTERS = Plugins("backbone source", "backbones.adapters", "ADAPTERS", "bob.backbones")
EXTRAS = {"open_clip": "open_clip", "diffusers": "diffusers", "transformers": "huggingface"}
"""Which extra of ours installs a library that is not there."""


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue: a name people use, and what is known of it before any weight is loaded."""

    name: str
    alias: str
    family: str
    architecture: str
    parameters_m: str
    pretraining_method: str
    pretraining_data: str
    input: str
    licence: str
    summary: str


@cache
def entries() -> tuple[Entry, ...]:
    """Every line of the catalogue, in its order."""
    with (Path(__file__).parent / "catalogue.csv").open(newline="", encoding="utf-8") as file:
        return tuple(Entry(**row) for row in csv.DictReader(file))


def load(name: str, places: Places | None = None) -> "Backbone":
    """Load a backbone by name, weights and all.

    Raises ``ValueError`` for an unknown name (with suggestions), ``OSError`` where weights cannot be had, and
    ``ImportError`` naming the extra to install where its library is missing.
    """
    source, _, reference = resolve(name).partition(":")
    if source not in ADAPTERS.found:
        raise unknown("backbone", name, [*_known_names(), *(f"{prefix}:..." for prefix in ADAPTERS.found)])
    with _missing_library_names_its_extra(source):
        return _load(source, reference, places or Places())


def resolve(name: str) -> str:
    """The full name of an alias; any other name is itself.

    >>> resolve("dino-small"), resolve("timm:test_vit")
    ('timm:vit_small_patch16_224.dino', 'timm:test_vit')
    """
    return {entry.alias: entry.name for entry in entries() if entry.alias}.get(name, name)


def _load(source: str, reference: str, places: Places) -> "Backbone":
    adapter = ADAPTERS.load(source)
    import torch  # by now the adapter has; listing names must not

    with torch.random.fork_rng(devices=[]):  # what a library draws before the weights are read is nobody's business
        backbone: Backbone = adapter(reference, places)
    return backbone


@contextmanager
def _missing_library_names_its_extra(source: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ImportError(
            f"'{source}:' backbones need the library {error.name!r}, which is not installed: "
            f"`uv sync --extra {extra}`, or `pip install '.[{extra}]'` in the checkout"
        ) from None


def _known_names() -> list[str]:
    return [name for entry in entries() for name in (entry.name, entry.alias) if name]
