"""A CSV file among a source's files: its columns, its rows by line, and mistakes that name both."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.datasets.sources import Source, printable, some

Row = tuple[int, dict[str, str]]
"""The line it ends on, and its cells by column; a cell that is missing is empty."""


@dataclass(frozen=True)
class CsvTable:
    """A table of UTF-8 text with a header."""

    file: str
    text: str

    @property
    def name(self) -> str:
        """The file's own name, for messages."""
        return printable(self.file.rpartition("/")[2])

    @property
    def columns(self) -> tuple[str, ...]:
        """What the header names."""
        return tuple(self._reader().fieldnames or ())

    def rows(self) -> Iterator[Row]:
        """Row by row. Raises ``ValueError`` naming the line that is no CSV, or has more cells than the header."""
        reader = self._reader()
        try:
            for row in reader:
                if None in row:
                    raise ValueError(f"{self.name} row {reader.line_num}: more cells than the header has columns")
                yield reader.line_num, {column: cell or "" for column, cell in row.items()}
        except csv.Error as error:
            raise ValueError(f"{self.name} row {reader.line_num}: {error}") from error

    def require(self, columns: Sequence[str]) -> None:
        """Raise ``ValueError`` naming the columns that are not there, and those that are."""
        if missing := [name for name in columns if name not in self.columns]:
            raise ValueError(f"{self.name} has no column {', '.join(missing)}; it has: {', '.join(self.columns)}")

    def _reader(self) -> "csv.DictReader[str]":
        return csv.DictReader(io.StringIO(self.text, newline=""), strict=True)


def read_table(source: Source, file: str) -> CsvTable:
    """The table in that file. Raises ``ValueError`` where it is no UTF-8 text, ``OSError`` where it is not there."""
    try:
        return CsvTable(file, source.read(file).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(file)} is not UTF-8 text: {error}") from error


def folder_of(source: Source, name: str, holds: str) -> str:
    """Where the one file of that name lies: the top (an empty text) or a single wrapping folder with its slash."""
    found = [file for file in source.files() if file.rpartition("/")[2] == name and file.count("/") < 2]
    if len(found) != 1:
        raise ValueError(f"needs one {name} ({holds}); found {some(found) or 'none'}")
    return found[0].removesuffix(name)


def below(start: str, path: str) -> str:
    """The file that a table's path names. Raises ``ValueError`` for a path that leaves the folder of its table.

    >>> below("set/", "images/1.png")
    'set/images/1.png'
    """
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"path {path!r} is not below the table's folder" if path else "path is empty")
    return f"{start}{path}"
