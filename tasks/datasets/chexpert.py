"""chexpert:PATH[#14] - CheXpert-v1.0-small: frontal X-rays, 5 or 14 findings.

For instance ``chexpert:CheXpert-v1.0-small#14``; uncertain findings by ``?uncertain=study``, ones, zeros or unknown.
"""

import re
from collections.abc import Iterator

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.csv_table import CsvTable, folder_of, read_table
from tasks.datasets.manifest import Item
from tasks.datasets.references import Reference, open_source, parse
from tasks.datasets.sources import Source
from tasks.datasets.target_cells import READ_AS, Cells, Place, item

COMPETITION = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
ALL = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
FINDINGS = {"": COMPETITION, "5": COMPETITION, "14": ALL}
ONES_IN_THE_STUDY = frozenset({"Edema", "Atelectasis"})
TABLES = {"train.csv": "train", "valid.csv": "val"}
PATH, VIEW = "Path", "Frontal/Lateral"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the folder or zip with train.csv and valid.csv; lateral views are left out.

    ``#14`` takes all findings, not the competition's five. ``uncertain`` says what -1 stands for: by default as in the
    2023 study, ones for Edema and Atelectasis and zeros for the rest; ``blank`` says it of empty cells, by default
    zeros. The official valid set is the only one with its answers there, so it becomes the test; val is carved from
    train by patient. Raises ``ValueError`` naming table, row and column of what is wrong.
    """
    parts = parse(reference, "chexpert", ("uncertain", "blank"))
    if parts.part not in FINDINGS:
        raise unknown("part of dataset 'chexpert',", parts.part, [name for name in FINDINGS if name])
    source = open_source(parts.path, options.places)
    try:
        cells = _cells(FINDINGS[parts.part], parts)
        start = folder_of(source, "train.csv", "the table of CheXpert-v1.0-small")
        items = [each for file in TABLES for each in _items(_table(source, start, file), start, TABLES[file], cells)]
    except ValueError as error:
        raise ValueError(f"dataset 'chexpert:{reference}': {error}") from error
    found = Found(
        f"chexpert:{reference}",
        source,
        items,
        cells.columns,
        parts.path,
        "Stanford University Dataset Research Use Agreement",
        target="multilabel",
    )
    return assemble(found, options)


def _cells(findings: tuple[str, ...], parts: Reference) -> Cells:
    uncertain = parts.choice("uncertain", ("study", *READ_AS), "study")
    study = {name: float(name in ONES_IN_THE_STUDY) for name in findings}
    stands_for = study if uncertain == "study" else dict.fromkeys(findings, READ_AS[uncertain])
    return Cells("multilabel", findings, stands_for, READ_AS[parts.choice("blank", READ_AS, "zeros")])


def _table(source: Source, start: str, file: str) -> CsvTable:
    try:
        return read_table(source, f"{start}{file}")
    except OSError as error:
        raise ValueError(f"no {file} beside train.csv") from error


def _items(table: CsvTable, start: str, split: str, cells: Cells) -> Iterator[Item]:
    table.require([PATH, VIEW, *cells.columns])
    seen = dict[str, int]()
    for line, values in table.rows():
        if values[VIEW] not in ("Frontal", "Lateral"):
            raise ValueError(f"{table.name} row {line}: {VIEW} is {values[VIEW]!r}; choose from Frontal, Lateral")
        if values[VIEW] == "Lateral":
            continue
        # Paths begin with the name the folder had when it was published.
        path = re.sub(r"^CheXpert-v[^/]*/", "", values[PATH])
        patient = re.search(r"(?:^|/)(patient\d+)/", path)
        if patient is None:
            raise ValueError(f"{table.name} row {line}: Path {values[PATH]!r} names no patient")
        yield item(Place(start, path, split, patient[1]), (line, values), table, cells, seen)


DATASETS = {"chexpert": read}
