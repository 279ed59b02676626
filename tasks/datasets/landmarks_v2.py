"""gldv2:FOLDER[#public] - Google Landmarks v2 retrieval: queries in test/, the gallery in index/, answers in a list.

The folder holds ``retrieval_solution_v2.1.csv``, and images as ``test/a/b/c/abcID.jpg`` and ``index/a/b/c/abcID.jpg``.
For instance ``gldv2:google-landmarks-v2`` (the private queries, its test), or ``gldv2:gldv2#public`` (its validation).
"""

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.csv_table import CsvTable, read_table
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.relevance import Judged
from tasks.datasets.sources import some

SOLUTION = "retrieval_solution_v2.1.csv"
COLUMNS = ("id", "images", "Usage")
USAGES = {"private": "Private", "public": "Public"}
IGNORED = "Ignored"
NOTHING = ("", "None")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the queries of one usage, private where none is named, and every image below ``index/``.

    Ignored queries have no right answers: they are left out, and counted in a warning. Raises ``ValueError`` naming the
    row of the solution that is wrong, or the images that are not there.
    """
    parts = parse(reference, "gldv2", ())
    part = parts.part or "private"
    if part not in USAGES:
        raise unknown("part of dataset 'gldv2',", part, USAGES)
    source = FolderFiles(options.places.find(parts.path, "folder of Google Landmarks v2"))
    files = [file for file in source.files() if file.endswith(".jpg") or file == SOLUTION]
    try:
        if SOLUTION not in files:
            raise ValueError(f"needs {SOLUTION} beside test/ and index/")
        judged, ignored = _solution(read_table(source, SOLUTION), USAGES[part])
        items = [*_images(files, "test", "query", judged), *_images(files, "index", "gallery")]
    except ValueError as error:
        raise ValueError(f"dataset 'gldv2:{reference}': {error}") from error
    told = (f"{ignored} queries of {SOLUTION} are ignored by its challenge and left out",) if ignored else ()
    found = Found(f"gldv2:{reference}", source, items, (), parts.path, warnings=told, target="relevance", judged=judged)
    return assemble(found, options)


def _solution(table: CsvTable, usage: str) -> tuple[dict[str, Judged], int]:
    """The judgements of that usage by query, and how many queries are ignored."""
    table.require(COLUMNS)
    judged, seen, ignored = dict[str, Judged](), dict[str, int](), 0
    for line, row in table.rows():
        query, kind = row["id"], row["Usage"]
        if not query or query in seen:
            what = f"id {query!r} is also in row {seen[query]}" if query else "id is empty"
            raise ValueError(f"{table.name} row {line}: {what}")
        if kind not in (*USAGES.values(), IGNORED):
            raise ValueError(f"{table.name} row {line}: Usage {kind!r}; choose from Public, Private, {IGNORED}")
        seen[query] = line
        ignored += kind == IGNORED
        if kind == usage:
            judged[query] = Judged(easy=[] if row["images"] in NOTHING else row["images"].split())
    if not judged:
        raise ValueError(f"{table.name} has no row whose Usage is {usage}")
    return judged, ignored


def _images(files: list[str], folder: str, split: str, wanted: dict[str, Judged] | None = None) -> list[Item]:
    """The images below a folder by their ids: all of them, or those that are wanted."""
    there = {file.rpartition("/")[2][:-4]: file for file in files if file.startswith(f"{folder}/")}
    names = list(there) if wanted is None else list(wanted)
    if missing := [name for name in names if name not in there]:
        raise ValueError(f"{len(missing)} of {len(names)} queries are not below {folder}/: {some(missing)}")
    if not names:
        raise ValueError(f"there are no images below {folder}/")
    return [Item(split, "", there[name], name) for name in names]


DATASETS = {"gldv2": read}
