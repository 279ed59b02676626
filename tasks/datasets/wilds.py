"""wilds:FOLDER[#val|#test] - an image set of WILDS by its own table: iWildCam, FMoW, Camelyon17 or RxRx1.

For instance ``wilds:camelyon17_v1.0``, the source domains (train, and what there is of id_val and id_test as val and
test), and ``wilds:camelyon17_v1.0#test``, the official out-of-distribution test; ``#val`` is out of distribution too.
"""

from collections.abc import Mapping
from pathlib import Path

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.csv_table import CsvTable, below, read_table
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.wilds_tables import TABLES, Shown, Table, class_order

SPLITS: Mapping[str, Mapping[str, str]] = {
    "": {"train": "train", "id_val": "val", "id_test": "test"},
    "val": {"val": "test"},
    "test": {"test": "test"},
}
"""By part, what each official split is here. Both sets of other domains are only ever tested on."""
REGIONS = "country_code_mapping.csv"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the folder with the official table; which set it is, the table's columns tell.

    What is chosen is chosen on the source domains alone, never on the out-of-distribution val. Groups (camera traps,
    regions, slides, cell types) are those of the sets that are tested on: source parts share theirs by design.
    Raises ``ValueError`` naming table and row of what is wrong.
    """
    parts = parse(reference, "wilds", ())
    if parts.part not in SPLITS:
        raise unknown("part of dataset 'wilds',", parts.part, [name for name in SPLITS if name])
    root = options.places.find(parts.path, "folder of a WILDS set")
    source = FolderFiles(root)
    try:
        kind, table = _table(source, root)
        images = list(kind.images(table, _regions(source, kind)))
        items = _items(images, SPLITS[parts.part], keep_groups=bool(parts.part))
    except ValueError as error:
        raise ValueError(f"dataset 'wilds:{reference}': {error}") from error
    classes = class_order([shown.class_name for shown in images])
    return assemble(Found(f"wilds:{reference}", source, items, classes, parts.path), options)


def _table(source: FolderFiles, root: Path) -> tuple[Table, CsvTable]:
    files = [name for name in dict.fromkeys(each.file for each in TABLES) if (root / name).is_file()]
    if not files:
        raise FileNotFoundError(
            f"{root} has neither metadata.csv nor rgb_metadata.csv; get the set from https://wilds.stanford.edu"
        )
    table = read_table(source, files[-1])
    for kind in TABLES:
        if kind.file == files[-1] and kind.marks in table.columns:
            return kind, table
    known = ", ".join(kind.marks for kind in TABLES if kind.file == files[-1])
    raise ValueError(f"{table.name} is of no set that is read: it has none of the columns {known}")


def _regions(source: FolderFiles, kind: Table) -> Mapping[str, str]:
    """The region of each country's code, where the set needs it."""
    if "country_code" not in kind.columns:
        return {}
    table = read_table(source, REGIONS)
    table.require(["alpha-3", "region"])
    return {row["alpha-3"]: row["region"] for _, row in table.rows()}


def _items(images: list[Shown], splits: Mapping[str, str], keep_groups: bool) -> list[Item]:
    return [
        Item(
            splits[shown.split],
            shown.class_name,
            below("", shown.file),
            shown.file,
            group=shown.group if keep_groups else "",
        )
        for shown in images
        if shown.split in splits
    ]


DATASETS = {"wilds": read}
