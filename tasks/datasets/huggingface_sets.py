"""huggingface:ID[@revision][#config][?label=COLUMN] - image sets of the Hugging Face hub, read undecoded."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import SPLIT_NAMES
from tasks.datasets.folder_source import stamp_of
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse

EXTRA = "pip install 'battle-of-the-backbones[huggingface]'"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a set through the ``datasets`` library, which downloads it where there is a network.

    Raises ``ImportError`` naming the extra to install, ``OSError`` where the set cannot be had, and ``ValueError``
    where it has no image column or no one label column.
    """
    parts = parse(reference, "huggingface", ("label",))
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f"huggingface:{reference} needs the datasets library: {EXTRA}") from error
    name, _, revision = parts.path.partition("@")
    try:
        loaded = datasets.load_dataset(name, parts.part or None, revision=revision or None)
    except (OSError, ConnectionError) as error:
        raise OSError(
            f"huggingface:{reference} is not here and cannot be downloaded ({' '.join(str(error).split())}); fetch it "
            "on a machine with a network and copy its HF_HOME folder, or open its files as images:PATH"
        ) from error
    features = next(iter(loaded.values())).features
    image, label = _columns(features, parts.settings.get("label", ""), reference, datasets)
    tables = _official(loaded, reference)
    tables = {split: table.cast_column(image, datasets.Image(decode=False)) for split, table in tables.items()}
    source = HubFiles(f"huggingface:{reference}", tables, image)
    names = tuple(features[label].names)
    items = [
        Item(split, names[index], file, file)
        for split, table in tables.items()
        for file, index in zip(source.of(split), table[label], strict=True)
        if index >= 0  # -1 is the library's "not labelled"
    ]
    return assemble(Found(f"huggingface:{reference}", source, items, names, f"Hugging Face hub: {parts.path}"), options)


@dataclass(frozen=True)
class HubFiles:
    """Rows of Hugging Face tables as files ``split/0000012``."""

    location: str
    tables: Mapping[str, Any] = field(repr=False)
    image: str

    def of(self, split: str) -> Sequence[str]:
        """The files of one split, by row."""
        return [f"{split}/{row:07}" for row in range(len(self.tables[split]))]

    def files(self) -> Sequence[str]:
        """Names, sorted."""
        return sorted(file for split in self.tables for file in self.of(split))

    def folders(self) -> Sequence[str]:
        """None."""
        return ()

    def stamp(self, name: str) -> str:
        """The stamp of the table's Arrow files; empty where it has none."""
        return self._stamps[name.partition("/")[0]]

    @cached_property
    def _stamps(self) -> dict[str, str]:
        return {split: _stamp([file["filename"] for file in table.cache_files]) for split, table in self.tables.items()}

    def read(self, name: str) -> bytes:
        """The encoded bytes of one row."""
        split, _, row = name.partition("/")
        cell = self.tables[split][int(row)][self.image]
        data: bytes = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        return data


def _stamp(files: Sequence[str]) -> str:
    """One stamp of several files: a hash of theirs, and the newest of their times (see ``stamp_of``)."""
    stamps = [stamp_of(Path(file)) for file in files]
    if not stamps:
        return ""
    newest = max(int(time) for stamp in stamps for time in stamp.split(":")[1:3])
    return f"{hashlib.sha256(' '.join(stamps).encode()).hexdigest()[:16]}:{newest}:{newest}"


def _columns(features: Mapping[str, Any], wanted: str, reference: str, library: Any) -> tuple[str, str]:
    images = [name for name, feature in features.items() if isinstance(feature, library.Image)]
    labels = [name for name, feature in features.items() if isinstance(feature, library.ClassLabel)]
    chosen = wanted or ("label" if "label" in labels else labels[0] if len(labels) == 1 else "")
    if len(images) != 1 or chosen not in labels:
        raise ValueError(
            f"dataset 'huggingface:{reference}' needs one image column (it has: {', '.join(images) or 'none'}) and a "
            f"class label chosen with ?label=COLUMN (it has: {', '.join(labels) or 'none'})"
        )
    return images[0], chosen


def _official(loaded: Mapping[str, Any], reference: str) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for name, table in loaded.items():
        if split := SPLIT_NAMES.get(name.lower(), ""):
            tables[split] = table
    if not tables:
        raise ValueError(f"dataset 'huggingface:{reference}' has no train, val or test; it has: {', '.join(loaded)}")
    return tables


DATASETS = {"huggingface": read}
