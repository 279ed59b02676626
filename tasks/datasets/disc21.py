"""disc21:FOLDER[#QUERIES][?training=yes] - DISC21: which of a million reference images a query was edited from, if any.

The folder holds ``references/`` and, for the part, ``dev_queries/`` (or the queries named) with
``dev_queries_groundtruth.csv``; ``training/`` is read when asked for. Folders called like the archives
(``dev_queries_50k_0/``, ``refs_50k_0/`` ...) will do too. For instance ``disc21:DISC21?training=yes``.
"""

from collections.abc import Sequence

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.csv_table import CsvTable, read_table
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.relevance import Judged
from tasks.datasets.sources import Source, some

FROM = "https://ai.meta.com/datasets/disc21-dataset (asks for an account)"
REFERENCES, TRAINING, QUERIES = ("references", "refs"), ("training", "train"), "dev_queries"
COLUMNS = ("query_id", "reference_id")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the queries that the ground truth lists, each with the reference it was made from, or with none: most are
    distractors (Douze et al. 2021). Images are called by the ids in it, ``Q00001.jpg``, in folders or below them.

    Raises ``FileNotFoundError`` naming what is missing, ``ValueError`` for an id that has no image or is listed twice.
    """
    parts = parse(reference, "disc21", ("training",))
    root = options.places.find(parts.path, "folder of DISC21")
    queries = parts.part or QUERIES
    path = find_list([f"{queries}_groundtruth.csv"], [root], FROM)
    source = FolderFiles(root)
    folders: dict[str, tuple[str, ...]] = {"query": (queries,), "gallery": REFERENCES}
    if parts.choice("training", ("yes", "no"), "no") == "yes":
        folders["train"] = TRAINING
    try:
        images = {split: _by_id(source.files(), names) for split, names in folders.items()}
        if empty := [split for split, found in images.items() if not found]:
            raise FileNotFoundError(f"no images in a folder {folders[empty[0]][0]} of {root}; get it from {FROM}")
        truth = _truth(source, path.name, images["query"], images["gallery"])
    except ValueError as error:
        raise ValueError(f"dataset 'disc21:{reference}': {error}") from error
    images["query"] = {file: file for file in truth}
    items = [Item(split, "", file, file) for split, found in images.items() for file in found.values()]
    judged = {query: Judged(easy=(found,)) for query, found in truth.items() if found}
    return assemble(
        Found(f"disc21:{reference}", source, items, (), str(root), target="relevance", judged=judged), options
    )


def _by_id(files: Sequence[str], folders: Sequence[str]) -> dict[str, str]:
    """The images of folders that are called so, or begin so, by their names without folder and ending."""
    found = dict[str, str]()
    for file in files:
        top = file.partition("/")[0]
        if is_image(file) and not is_junk(file) and any(top == name or top.startswith(f"{name}_") for name in folders):
            identity = file.rpartition("/")[2].partition(".")[0]
            if identity in found:
                raise ValueError(f"{some([found[identity], file])} have one id; keep one of them")
            found[identity] = file
    return found


def _truth(source: Source, file: str, queries: dict[str, str], references: dict[str, str]) -> dict[str, str]:
    """The file of the reference that each query's file was made from; empty where none was."""
    table, found = read_table(source, file), dict[str, str]()
    headed = COLUMNS[0] in table.columns
    if not headed:  # as it was released
        table = CsvTable(file, f"{','.join(COLUMNS)}\n{table.text}")
    table.require(COLUMNS)
    for end, row in table.rows():
        query, reference = (row[column] for column in COLUMNS)
        line = end if headed else end - 1
        if query not in queries or (reference and reference not in references):
            lost = reference if query in queries else query
            raise ValueError(f"{table.name} row {line}: there is no image of {lost!r}")
        if queries[query] in found:
            raise ValueError(f"{table.name} row {line}: query {query!r} is listed twice")
        found[queries[query]] = references.get(reference, "")
    return found


DATASETS = {"disc21": read}
