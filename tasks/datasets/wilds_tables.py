"""How the tables of the WILDS image sets say where an image is, what it shows, in which split, and of which group.

Koh et al., WILDS: A Benchmark of in-the-Wild Distribution Shifts, 2021. Splits are called as there: ``train``,
``id_val`` and ``id_test`` are of the source domains, ``val`` and ``test`` of others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.datasets.csv_table import CsvTable

Cells = Mapping[str, str]


@dataclass(frozen=True)
class Shown:
    """An image; ``split`` is empty where the official division leaves it out, ``group`` where it is of none."""

    split: str
    class_name: str
    file: str
    group: str


@dataclass(frozen=True)
class Table:
    """``columns`` must be there; ``shown`` reads a row (its number counts from 0) with a region by country at hand.

    ``marks`` is a column that no other set's table has.
    """

    file: str
    marks: str
    columns: tuple[str, ...]
    shown: Callable[[int, Cells, Mapping[str, str]], Shown]

    def images(self, table: CsvTable, regions: Mapping[str, str]) -> Iterator[Shown]:
        """Row by row. Raises ``ValueError`` naming the row that cannot be read."""
        table.require(self.columns)
        for number, (line, cells) in enumerate(table.rows()):
            try:
                yield self.shown(number, cells, regions)
            except ValueError as error:
                raise ValueError(f"{table.name} row {line}: {error}") from error


def class_order(names: Sequence[str]) -> tuple[str, ...]:
    """Numbers by size, names by letter.

    >>> class_order(["10", "2"]), class_order(["zoo", "dam"])
    (('2', '10'), ('dam', 'zoo'))
    """
    present = set(names)
    return tuple(sorted(present, key=int) if all(name.isdecimal() for name in present) else sorted(present))


def _iwildcam(number: int, row: Cells, regions: Mapping[str, str]) -> Shown:
    """A camera trap is a group."""
    return Shown(_one_of(row, "split"), _number(row, "y"), f"train/{row['filename']}", row["location_remapped"])


def _camelyon17(number: int, row: Cells, regions: Mapping[str, str]) -> Shown:
    """Hospitals 1 and 2 are out of distribution; a slide is a group."""
    patch = f"patient_{row['patient']}_node_{row['node']}"
    file = f"patches/{patch}/patch_{patch}_x_{row['x_coord']}_y_{row['y_coord']}.png"
    at_home = {"0": "train", "1": "id_val"}[_one_of(row, "split", ("0", "1"))]
    split = {"1": "val", "2": "test"}.get(_number(row, "center"), at_home)
    return Shown(split, {"0": "normal", "1": "tumor"}[_one_of(row, "tumor", ("0", "1"))], file, row["slide"])


def _rxrx1(number: int, row: Cells, regions: Mapping[str, str]) -> Shown:
    """Of the experiments of train, the second site is id_test; a cell type is a group."""
    split = _one_of(row, "dataset", ("train", "val", "test"))
    at = f"images/{row['experiment']}/Plate{row['plate']}/{row['well']}_s{row['site']}.png"
    split = "id_test" if split == "train" and _number(row, "site") == "2" else split
    return Shown(split, _number(row, "sirna_id"), at, row["cell_type"])


def _fmow(number: int, row: Cells, regions: Mapping[str, str]) -> Shown:
    """Until 2012 is in distribution, 2013 to 2015 val, from 2016 test; a region is a group, unknown ones are none."""
    year = row["timestamp"][:4]
    if not year.isdecimal():
        raise ValueError(f"timestamp is {row['timestamp']!r}, which begins with no year")
    era = "home" if int(year) < 2013 else "val" if int(year) < 2016 else "test"
    asked = _one_of(row, "split", ("train", "val", "test", "seq"))
    at_home = {"train": "train", "val": "id_val", "test": "id_test", "seq": ""}[asked]
    split = at_home if era == "home" else era if era == asked else ""
    return Shown(split, row["category"], f"images/rgb_img_{number}.png", regions.get(row["country_code"], ""))


def _one_of(row: Cells, column: str, choices: Sequence[str] = ("train", "id_val", "id_test", "val", "test")) -> str:
    if row[column] not in choices:
        raise ValueError(f"{column} is {row[column]!r}; choose from {', '.join(choices)}")
    return row[column]


def _number(row: Cells, column: str) -> str:
    if not row[column].isdecimal():
        raise ValueError(f"{column} is {row[column]!r}, no whole number")
    return str(int(row[column]))


TABLES = (
    Table("metadata.csv", "location_remapped", ("split", "filename", "y", "location_remapped"), _iwildcam),
    Table(
        "metadata.csv",
        "tumor",
        ("patient", "node", "x_coord", "y_coord", "tumor", "slide", "center", "split"),
        _camelyon17,
    ),
    Table(
        "metadata.csv",
        "sirna_id",
        ("dataset", "experiment", "plate", "well", "site", "cell_type", "sirna_id"),
        _rxrx1,
    ),
    Table("rgb_metadata.csv", "country_code", ("split", "category", "timestamp", "country_code"), _fmow),
)
