"""retrieval:PATH[?class=COLUMN] - queries and a gallery listed in index.csv (path, role, class), directory or zip.

A line an image: ``a.jpg,query,cup``, with role ``query`` or ``gallery``; paths are relative to index.csv. For instance
``retrieval:products`` (a folder), or ``retrieval:grocery.zip?class=coarse_id`` (right answers are those of the same
``coarse_id``, another column of the index).
"""

from collections import defaultdict
from collections.abc import Iterator

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.csv_table import CsvTable, folder_of, read_table
from tasks.datasets.manifest import Item
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source, printable, some

ROLES = ("query", "gallery")
CLASS_COLUMNS = ("class", "class_id")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the index. ``?class=coarse_id`` takes the right answers from another column.

    Raises ``ValueError`` naming the row that is wrong. A query without a right answer is kept, and warned about.
    """
    parts = parse(reference, "retrieval", ("class",))
    source = open_source(parts.path, options.places)
    try:
        start = folder_of(source, "index.csv", "columns path, role, class")
        items = list(_items(source, start, parts.settings.get("class", "")))
        if missing := [role for role in ROLES if all(item.split != role for item in items)]:
            raise ValueError(f"index.csv has no row with role {' or '.join(missing)}")
    except ValueError as error:
        raise ValueError(f"dataset 'retrieval:{reference}': {error}") from error
    classes = tuple(sorted({item.class_name for item in items}, key=_natural))
    return assemble(
        Found(f"retrieval:{reference}", source, items, classes, parts.path, warnings=_hopeless(items)), options
    )


def _items(source: Source, start: str, wanted: str) -> Iterator[Item]:
    table = read_table(source, f"{start}index.csv")
    column = _class_column(table, wanted)
    files, seen = set(source.files()), dict[str, int]()
    for line, row in table.rows():
        item = _item(row, line, start, column, files)
        if item.file in seen:
            raise ValueError(f"index.csv row {line}: {item.name!r} is also in row {seen[item.file]}")
        seen[item.file] = line
        yield item


def _class_column(table: CsvTable, wanted: str) -> str:
    table.require(["path", "role", *([wanted] if wanted else [])])
    for name in (wanted,) if wanted else CLASS_COLUMNS:
        if name in table.columns:
            return name
    raise ValueError(f"index.csv has no column {' or '.join(CLASS_COLUMNS)}; it has: {', '.join(table.columns)}")


def _item(row: dict[str, str], line: int, start: str, column: str, files: set[str]) -> Item:
    path, role, class_name = row["path"], row["role"], row[column]
    if not path or not class_name:
        raise ValueError(f"index.csv row {line}: {'path' if not path else column} is empty")
    if role not in ROLES:
        raise ValueError(f"index.csv row {line}: role {role!r}; choose from {', '.join(ROLES)}")
    if f"{start}{path}" not in files:
        raise ValueError(f"index.csv row {line}: no file {path!r} beside the index")
    return Item(role, class_name, f"{start}{path}", path)


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by value and before words, so that class 10 comes after class 9."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _hopeless(items: list[Item]) -> tuple[str, ...]:
    gallery: dict[str, int] = defaultdict(int)
    for item in items:
        gallery[item.class_name] += item.split == "gallery"
    names = [printable(item.name) for item in items if item.split == "query" and not gallery[item.class_name]]
    return (f"{len(names)} queries have no right answer in the gallery: {some(names)}",) if names else ()


DATASETS = {"retrieval": read}
