"""ade:PATH - ADE20K as its scene parsing challenge packs it (ADEChallengeData2016): 150 classes for every pixel.

The folder or zip holds ``images/training``, ``images/validation``, the same two below ``annotations/``, and
``objectInfo150.txt``. For instance ``ade:ADEChallengeData2016.zip``. Pixels of 0 are of none of the classes; the test
is the official val.
"""

import csv
import io

from tasks.datasets.assembly import Found
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.listed_classes import read_text
from tasks.datasets.manifest import Item
from tasks.datasets.paired_files import wrapper
from tasks.datasets.pixel_classes import PixelClasses, assemble_maps
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source

SPLITS = {"training": "train", "validation": "val"}
NAMES = "objectInfo150.txt"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open training and validation; a class's name is all the words the table gives it.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` naming maps that are missing or wrong.
    """
    parts = parse(reference, "ade", ())
    name = f"ade:{reference}"
    source = open_source(parts.path, options.places)
    try:
        if parts.part:
            raise ValueError(f"part {parts.part!r}; it has none")
        files = [file for file in source.files() if not is_junk(file)]
        top = wrapper(files)
        classes = _classes(source, files, top)
        items = [*_items(files, top)]
        if not items:
            raise ValueError(f"no images below {top}images/training or {top}images/validation in {source.location}")
    except ValueError as error:
        raise ValueError(f"dataset {name!r}: {error}") from error
    found = Found(name, source, items, classes.classes, parts.path, target="pixels", meaning=classes.meaning)
    return assemble_maps(found, classes.known, options)


def _items(files: list[str], top: str) -> list[Item]:
    items = []
    for file in filter(is_image, files):
        kind, _, rest = file.removeprefix(top).partition("/")
        split = SPLITS.get(rest.partition("/")[0])
        if kind == "images" and split:
            items.append(
                Item(split, "", file, file.removeprefix(top), map=f"{top}annotations/{rest.rpartition('.')[0]}.png")
            )
    return items


def _classes(source: Source, files: list[str], top: str) -> PixelClasses:
    """The table's names by its numbers. Raises ``ValueError`` where it is missing or is another."""
    if top + NAMES not in files:
        raise ValueError(f"no {NAMES} in {source.location}/{top}; it is in the archive of the challenge")
    table = csv.DictReader(io.StringIO(read_text(source, top + NAMES)), delimiter="\t")
    try:
        names = {int(row["Idx"]): row["Name"].strip() for row in table}
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ValueError(f"{top + NAMES} is no table with the columns Idx and Name, parted by tabs") from error
    if len({*names.values()}) != len(names):
        raise ValueError(f"{top + NAMES} gives two classes one name")
    return PixelClasses(names, frozenset({0}))


DATASETS = {"ade": read}
