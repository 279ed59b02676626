"""huggingface:ID[@revision][#config][?label=COLUMN] - image sets of the Hugging Face hub, read undecoded.

For instance ``huggingface:uoft-cs/cifar100@COMMIT?label=fine_label``: a commit pins the set, and the label is needed
where a set has several columns of classes.

A folder below a data root may stand for the ID: Parquet files, an image folder, or what ``save_to_disk`` wrote. Sets
that are a script are refused: the library runs none from version 4 on, which is why no older one is supported.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from backbones.places import Places
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import SPLIT_NAMES
from tasks.datasets.folder_source import stamp_of
from tasks.datasets.manifest import Item
from tasks.datasets.references import Reference, parse

EXTRA = "`uv sync --extra huggingface`, or `pip install '.[huggingface]'` in the checkout"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a set through the ``datasets`` library, which downloads it where there is a network.

    Raises ``ImportError`` naming the extra to install, ``OSError`` where the set cannot be had, and ``ValueError``
    where it is damaged, a script, or has no image column or no one label column.
    """
    parts = parse(reference, "huggingface", ("label",))
    folder = _folder(parts.path, options.places)
    if folder is None and not options.download:
        raise FileNotFoundError(f"huggingface:{reference} is no folder here")
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f"huggingface:{reference} needs the datasets library: {EXTRA}") from error
    with _mistakes(reference, folder, datasets):
        loaded = _saved(folder, datasets) or _loaded(folder, parts, datasets)
    tables = _official(loaded, reference)
    features = next(iter(tables.values())).features
    image, label = _columns(features, parts.settings.get("label", ""), reference, datasets)
    undecoded = {
        split: table.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
        for split, table in tables.items()
    }
    source = HubFiles(f"huggingface:{reference}", undecoded, image)
    items, warnings = _labelled(source, label, tuple(features[label].names))
    origin = f"folder {parts.path} through datasets" if folder else f"Hugging Face hub: {parts.path}"
    found = Found(f"huggingface:{reference}", source, items, tuple(features[label].names), origin, warnings=warnings)
    return assemble(found, options)


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
        if cell is None:
            raise ValueError("the row has no image")
        data: bytes = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        return data


def _folder(path: str, places: Places) -> Path | None:
    """The folder meant by the ID, where there is one: the library, too, prefers a folder to a set of the hub."""
    try:
        found = places.find(path)
    except FileNotFoundError:
        return None
    return found if found.is_dir() else None


def _saved(folder: Path | None, library: Any) -> Mapping[str, Any] | None:
    """The tables ``save_to_disk`` wrote into the folder, several or a single one; none where it wrote nothing."""
    if folder is None or not any((folder / file).is_file() for file in ("dataset_dict.json", "state.json")):
        return None
    loaded = library.load_from_disk(str(folder))
    return loaded if isinstance(loaded, Mapping) else {str(loaded.split or "all"): loaded}


def _loaded(folder: Path | None, parts: Reference, library: Any) -> Mapping[str, Any]:
    name, _, revision = (parts.path, "", "") if folder else parts.path.partition("@")
    found = library.load_dataset(str(folder or name), parts.part or None, revision=revision or None)
    loaded: Mapping[str, Any] = found
    return loaded


@contextmanager
def _mistakes(reference: str, folder: Path | None, library: Any) -> Iterator[None]:
    """The library's errors as one line each. What the hub's client says of its attempts would only surround it."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        yield
    except (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError) as error:
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        if folder is None and isinstance(error, OSError):
            raise OSError(
                f"huggingface:{reference} is not here and cannot be downloaded ({reason}); fetch it "
                "on a machine with a network and copy its HF_HOME folder, or open its files as images:PATH"
            ) from error
        raise ValueError(
            f"dataset 'huggingface:{reference}' cannot be opened{f' from {folder}' if folder else ''}: {reason}"
        ) from error
    finally:
        client.setLevel(level)


def _labelled(source: HubFiles, label: str, names: tuple[str, ...]) -> tuple[list[Item], tuple[str, ...]]:
    """The rows that have a label (the library's "none" is -1 or null), and a warning for each split with others."""
    items, warnings = list[Item](), list[str]()
    for split, table in source.tables.items():
        rows = list(zip(source.of(split), table[label], strict=True))
        kept = [Item(split, names[index], file, file) for file, index in rows if index is not None and index >= 0]
        items += kept
        if len(kept) < len(rows):
            warnings.append(f"{len(rows) - len(kept)} of {len(rows)} images of {split} have no label and are left out")
    return items, tuple(warnings)


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
        split = {**SPLIT_NAMES, "all": "all"}.get(name.lower(), "")
        if split in tables:
            raise ValueError(f"dataset 'huggingface:{reference}' has two {split} splits among {', '.join(loaded)}")
        if split:
            tables[split] = table
    if not tables:
        raise ValueError(f"dataset 'huggingface:{reference}' has no train, val or test; it has: {', '.join(loaded)}")
    return tables


DATASETS = {"huggingface": read}
