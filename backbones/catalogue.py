"""Backbones by name: ``source:reference``, an alias of the catalogue, or a plug-in's own prefix.

The catalogue itself is data (``catalogue.csv``, a line an entry). Loading a name imports that source's library only.
Entries belong to named groups, which plans use as ``group:NAME``; ``bob2023`` covers ``bob2023/small`` and the like.
"""

import csv
from collections.abc import Iterable, Iterator
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
GROUP = "group:"
"""What a plan puts before the name of a group."""


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue: a name people use, and what is known of it before any weight is loaded.

    ``parameters_m`` are millions, of the trunk; ``pretraining_images`` is rounded (``1.28M``), ``none`` or ``unknown``.
    ``revision`` is what picks the weights: a tag, a file's name, a seed, or a branch that can move (``unpinned``).
    ``status`` is empty, or says why the weights cannot be had as things are; groups in plans leave such entries out.
    """

    name: str
    alias: str
    family: str
    architecture: str
    parameters_m: str
    pretraining_method: str
    pretraining_data: str
    pretraining_images: str
    input: str
    licence: str
    revision: str
    groups: tuple[str, ...]
    status: str
    summary: str

    @property
    def parameters(self) -> float:
        """Of the trunk, to the tenth of a million."""
        return float(self.parameters_m) * 1e6

    @property
    def pinned(self) -> bool:
        """Whether the same name always means the same weights."""
        return not self.revision.endswith("(unpinned)")


@cache
def entries() -> tuple[Entry, ...]:
    """Every line of the catalogue, in its order."""
    with (Path(__file__).parent / "catalogue.csv").open(newline="", encoding="utf-8") as file:
        return tuple(Entry(groups=tuple(row.pop("groups").split()), **row) for row in csv.DictReader(file))


@cache
def groups() -> dict[str, tuple[Entry, ...]]:
    """Every group with its entries in the catalogue's order; ``a`` holds what ``a/b`` does."""
    found: dict[str, list[Entry]] = {}
    for entry in entries():
        for name in dict.fromkeys(part for group in entry.groups for part in (group.partition("/")[0], group)):
            found.setdefault(name, []).append(entry)
    return {name: tuple(found[name]) for name in sorted(found)}


def group(name: str) -> tuple[Entry, ...]:
    """The entries of a group, those that cannot be had too. Raises ``ValueError`` with suggestions."""
    if name not in groups():
        raise unknown("group", name, groups())
    return groups()[name]


def expand(name: str) -> list[str]:
    """The backbones ``group:NAME`` stands for, without those that cannot be had; any other name is itself.

    Raises ``ValueError`` for an unknown group, and for one of which nothing can be had.

    >>> expand("group:tiny")[:2], expand("pixels")
    (['pixels', 'random:timm:test_vit.r160_in1k'], ['pixels'])
    """
    if not name.startswith(GROUP):
        return [name]
    members = group(name.removeprefix(GROUP))
    if not (names := [entry.name for entry in members if not entry.status]):
        raise ValueError(f"none of it can be had: {'; '.join(f'{each.name}: {each.status}' for each in members)}")
    return names


def left_out(names: Iterable[str]) -> list[str]:
    """What groups among ``names`` leave out and why, a line an entry; groups that are unknown have nothing to say."""
    lines = {
        f"{name} leaves out {entry.name}: {entry.status}"
        for name in names
        if name.startswith(GROUP)
        for entry in groups().get(name.removeprefix(GROUP), ())
        if entry.status
    }
    return sorted(lines)


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
