"""table:PATH[#FILE][?kind=KIND&target=COLUMN,...] - images listed in a CSV file with any kind of target.

For instance ``table:xrays/labels.csv?kind=multilabel`` with a column for each label.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from backbones.places import Places
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions, Target
from tasks.datasets.class_folders import SPLIT_NAMES
from tasks.datasets.csv_table import CsvTable, read_table
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.manifest import Item
from tasks.datasets.references import Reference, open_source, parse
from tasks.datasets.sources import Source
from tasks.datasets.target_cells import READ_AS, Cells, Place, item, ordered

SETTINGS = ("kind", "target", "path", "split", "group", "order", "uncertain", "blank")
KINDS: dict[str, Target] = {kind: kind for kind in get_args(Target) if kind not in ("relevance", "captions", "nothing")}


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the images of ``table:FOLDER/labels.csv`` or ``table:SET.zip#labels.csv``, whose paths are beside the table.

    ``kind`` is class (the default), multilabel, ordinal or value. ``target`` names the column (default ``label``); for
    multilabel one or more (default: all that are left), with cells 1, 0, empty, and -1 where ``uncertain`` says what it
    stands for; ``blank`` says it of empty cells (zeros, ones or unknown, their default). ``order=low,mid,high`` are the
    classes of an ordinal target that are no whole numbers. ``path`` (default ``path``) names the column of the files;
    ``split`` (train, val, test) and ``group`` (a patient) are used where there, or must be there when given.
    """
    parts = parse(reference, "table", SETTINGS)
    source, file = _table_file(parts, options.places)
    try:
        table = read_table(source, file)
        cells = _cells(table, parts)
        items = list(_items(table, parts, cells))
        classes = _classes(items, table, parts, cells)
    except ValueError as error:
        raise ValueError(f"dataset 'table:{reference}': {error}") from error
    return assemble(Found(f"table:{reference}", source, items, classes, parts.path, target=cells.target), options)


def _table_file(parts: Reference, places: Places) -> tuple[Source, str]:
    path = Path(places.find(parts.path, "table, folder or zip"))
    if path.suffix.lower() == ".csv":
        return FolderFiles(path.parent), path.name
    source = open_source(parts.path, places)
    file = parts.part or "labels.csv"
    if file not in source.files():
        raise ValueError(f"dataset 'table:{parts.path}': no file {file!r} in it; name its table after a #")
    return source, file


def _listed(parts: Reference, setting: str) -> tuple[str, ...]:
    return tuple(filter(None, parts.settings.get(setting, "").split(",")))


def _used(table: CsvTable, parts: Reference, setting: str) -> str:
    """The column of that setting; empty where none was named and none is called so."""
    return parts.settings.get(setting, setting if setting in table.columns else "")


def _cells(table: CsvTable, parts: Reference) -> Cells:
    kind = KINDS[parts.choice("kind", KINDS, "class")]
    columns = _listed(parts, "target")
    others = (parts.settings.get("path", "path"), _used(table, parts, "split"), _used(table, parts, "group"))
    if not columns:
        columns = tuple(c for c in table.columns if c not in others) if kind == "multilabel" else ("label",)
    table.require([*filter(None, others), *columns])
    if not columns or (kind != "multilabel" and len(columns) > 1):
        raise ValueError(f"{len(columns)} target columns; kind={kind} takes {'one' if columns else 'at least one'}")
    blank = READ_AS[parts.choice("blank", READ_AS, "unknown")]
    if "uncertain" not in parts.settings:
        return Cells(kind, columns, blank=blank)
    return Cells(kind, columns, dict.fromkeys(columns, READ_AS[parts.choice("uncertain", READ_AS, "")]), blank)


def _items(table: CsvTable, parts: Reference, cells: Cells) -> Iterator[Item]:
    path, split, group = parts.settings.get("path", "path"), _used(table, parts, "split"), _used(table, parts, "group")
    start, seen = table.file[: table.file.rfind("/") + 1], dict[str, int]()
    for line, values in table.rows():
        part = values[split].strip().lower() if split else "all"
        if split and part not in SPLIT_NAMES:
            choices = ", ".join(dict.fromkeys(SPLIT_NAMES.values()))
            raise ValueError(f"{table.name} row {line}: {split} is {values[split]!r}; choose from {choices}")
        if group and not values[group]:
            raise ValueError(f"{table.name} row {line}: {group} is empty")
        place = Place(start, values[path], SPLIT_NAMES.get(part, part), values[group] if group else "")
        yield item(place, (line, values), table, cells, seen)


def _classes(items: list[Item], table: CsvTable, parts: Reference, cells: Cells) -> tuple[str, ...]:
    if not items:
        raise ValueError(f"{table.name} has no rows")
    if cells.target == "ordinal":
        return ordered([each.class_name for each in items], _listed(parts, "order"))
    if cells.target == "class":
        return tuple(sorted({each.class_name for each in items}))
    return cells.columns


DATASETS = {"table": read}
