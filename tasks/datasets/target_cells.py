"""From the cells of a table to what is known of an image: a class, 0/1/unknown a label, or a number."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.datasets.base import Target
from tasks.datasets.csv_table import CsvTable, Row, below
from tasks.datasets.manifest import Item

READ_AS = {"zeros": 0.0, "ones": 1.0, "unknown": math.nan}
"""What an uncertain or an empty cell may be read as: U-zeros, U-ones and U-ignore of the CheXpert paper."""

MOST_GRADES = 1000


@dataclass(frozen=True)
class Cells:
    """How the cells of ``columns`` are read. ``uncertain``: what -1 stands for, by column; where unsaid it is refused.

    ``blank`` is what an empty cell of a label stands for. A class or a number must not be empty.
    """

    target: Target
    columns: tuple[str, ...]
    uncertain: Mapping[str, float] = field(default_factory=dict)
    blank: float = math.nan

    def told(self, row: Mapping[str, str]) -> tuple[str, tuple[float, ...]]:
        """Class name and targets, of which one is empty. Raises ``ValueError`` naming the cell that is neither."""
        if self.target == "multilabel":
            return "", tuple(self._label(column, row[column].strip()) for column in self.columns)
        (column,) = self.columns
        cell = row[column].strip()
        if not cell:
            raise ValueError(f"{column} is empty")
        return ("", (_number(column, cell),)) if self.target == "value" else (cell, ())

    def _label(self, column: str, cell: str) -> float:
        try:
            value = float(cell) if cell else None
        except ValueError:
            value = math.nan
        if value is None:
            return self.blank
        if value == -1 and column in self.uncertain:
            return self.uncertain[column]
        if value not in (0, 1):
            uncertain = ", -1 (uncertain)" if column in self.uncertain else ""
            raise ValueError(f"{column} is {cell!r}; choose from 1, 0{uncertain} or leave it empty")
        return value


@dataclass(frozen=True)
class Place:
    """Where a row's image lies: below ``start``, in this split, of this group (a patient; empty where nobody's)."""

    start: str
    path: str
    split: str
    group: str = ""


def item(place: Place, row: Row, table: CsvTable, cells: Cells, seen: dict[str, int]) -> Item:
    """The image of a row. ``seen`` remembers the line of each file: twice is a mistake. Errors name table and row."""
    line, values = row
    try:
        file = below(place.start, place.path)
        class_name, targets = cells.told(values)
    except ValueError as error:
        raise ValueError(f"{table.name} row {line}: {error}") from error
    if file in seen:
        raise ValueError(f"{table.name} row {line}: {place.path!r} is also in row {seen[file]}")
    seen[file] = line
    return Item(place.split, class_name, file, place.path, targets, place.group)


def ordered(found: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    """The classes in their order: as given, or whole numbers from the lowest to the highest found, gaps included.

    >>> ordered(["3", "0", "1"], ())
    ('0', '1', '2', '3')
    """
    present = set(found)
    if order:
        if foreign := sorted(present - set(order)):
            raise ValueError(f"classes {', '.join(foreign)} are not in order={','.join(order)}")
        return tuple(order)
    if named := sorted(name for name in present if not name.removeprefix("-").isdecimal()):
        raise ValueError(f"{named[0]!r} is no whole number; say the classes' order with order=LOWEST,...,HIGHEST")
    low, high = min(map(int, present)), max(map(int, present))
    if high - low >= MOST_GRADES:
        raise ValueError(f"grades run {low}..{high}, more than {MOST_GRADES}; read them as numbers with kind=value")
    return tuple(map(str, range(low, high + 1)))


def _number(column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not abs(value) <= float(np.finfo(np.float32).max):  # NaN is not either
        raise ValueError(f"{column} is {cell!r}, no finite number")
    return value
