"""retrieval:PATH[?class=COLUMN] - queries and a gallery listed in index.csv (path, role, class), directory or zip.

A line an image: ``a.jpg,query,cup``, with role ``query`` or ``gallery``; paths are relative to index.csv. For instance
``retrieval:products`` (a folder), or ``retrieval:grocery.zip?class=coarse_id`` (right answers are those of the same
``coarse_id``, another column of the index).
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
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
        start = _index_folder(source)
        items = list(_items(source, start, parts.settings.get("class", "")))
        if missing := [role for role in ROLES if all(item.split != role for item in items)]:
            raise ValueError(f"index.csv has no row with role {' or '.join(missing)}")
    except ValueError as error:
        raise ValueError(f"dataset 'retrieval:{reference}': {error}") from error
    classes = tuple(sorted({item.class_name for item in items}, key=_natural))
    return assemble(
        Found(f"retrieval:{reference}", source, items, classes, parts.path, warnings=_hopeless(items)), options
    )


def _index_folder(source: Source) -> str:
    """The folder of the one ``index.csv``, at the top or below a single wrapping folder."""
    found = [name for name in source.files() if name.rpartition("/")[2] == "index.csv" and name.count("/") < 2]
    if len(found) != 1:
        raise ValueError(f"needs one index.csv (columns path, role, class); found {some(found) or 'none'}")
    return found[0].removesuffix("index.csv")


def _items(source: Source, start: str, column: str) -> Iterator[Item]:
    try:
        text = source.read(f"{start}index.csv").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"index.csv is not UTF-8 text: {error}") from error
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    column = _class_column(tuple(table.fieldnames or ()), column)
    files, seen = set(source.files()), dict[str, int]()
    try:
        for row in table:
            item = _item(row, table.line_num, start, column, files)
            if item.file in seen:
                raise ValueError(f"index.csv row {table.line_num}: {item.name!r} is also in row {seen[item.file]}")
            seen[item.file] = table.line_num
            yield item
    except csv.Error as error:
        raise ValueError(f"index.csv row {table.line_num}: {error}") from error


def _class_column(columns: tuple[str, ...], wanted: str) -> str:
    if missing := [name for name in ("path", "role") if name not in columns]:
        raise ValueError(f"index.csv has no column {' or '.join(missing)}; it has: {', '.join(columns)}")
    for name in (wanted,) if wanted else CLASS_COLUMNS:
        if name in columns:
            return name
    raise ValueError(f"index.csv has no column {wanted or ' or '.join(CLASS_COLUMNS)}; it has: {', '.join(columns)}")


def _item(row: dict[str, str | None], line: int, start: str, column: str, files: set[str]) -> Item:
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
