"""Where a set of COCO's format keeps its annotations and its images, by what they are called."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from backbones.plugins import unknown
from tasks.datasets.class_folders import is_junk
from tasks.datasets.sources import printable, some

_WORDS = {
    **dict.fromkeys(("training", "train"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "val"),
    **dict.fromkeys(("testing", "test"), "test"),
}
_STEM = re.compile(rf"(?:(?P<kind>.*?)[_.-])?(?P<split>{'|'.join(_WORDS)})(?P<tail>\d.*|[_.-].*)?", re.IGNORECASE)
_ANNOTATION_FOLDERS = ("annotations", "annotation")
_SAMPLE = 200
"""Images looked for when it is found out how names and folders go together."""


class Table(NamedTuple):
    """A json file, and what its images' folder may be called: ``train2017``, ``train``."""

    file: str
    folders: tuple[str, ...]

    @property
    def base(self) -> str:
        """The folder of the set: the json file's own, or the one above ``annotations/``."""
        folder = self.file.rpartition("/")[0]
        above, _, last = folder.rpartition("/")
        return above if last.lower() in _ANNOTATION_FOLDERS else folder

    def at_top(self) -> "Table":
        """For images that are elsewhere: as if the file lay at the top of where they are."""
        return self._replace(file=self.file.rpartition("/")[2])


class _Group(NamedTuple):
    """Files that are the splits of one set of annotations."""

    folder: str
    kind: str
    tail: str

    @property
    def name(self) -> str:
        return "_".join(filter(None, [self.kind, self.tail.strip("_.-")]))


def find_tables(files: Sequence[str], asked: str, usual: Sequence[str]) -> dict[str, Table]:
    """The json file of each split, of the annotations that were ``asked`` for by name, or of the only ones.

    Names are ``KIND_SPLIT`` with anything behind (``instances_train2017.json``, ``train.json``,
    ``instances_seg_val.json``), or lie in a folder that is called like the split. Without any such, one file is a set
    without splits. Where nothing is asked, those of a ``usual`` KIND go before any others.

    Raises ``ValueError`` with the choices where there is none or more than one.
    """
    found = [file for file in files if file.lower().endswith(".json") and not is_junk(file)]
    groups: dict[_Group, dict[str, Table]] = {}
    for file in found:
        if placed := _placed(file):
            group, split, table = placed
            if split in groups.setdefault(group, {}):
                raise ValueError(f"{printable(file)} and {printable(groups[group][split].file)} are both {split}")
            groups[group][split] = table
    groups |= _without_splits(found, asked, bool(groups))
    if not groups:
        raise ValueError(f"no json file of annotations ({len(found)} json files, none of them named like a split)")
    return groups[_chosen([*groups], groups, asked, usual)]


def packed_folders(names: Sequence[str], table: Table) -> list[str]:
    """Folders in which the images may be packed (``train2017.zip``): those that are searched, and those they name."""
    named = {name.rpartition("/")[0] for name in names}
    return list(dict.fromkeys([*_candidates(table), *(_join(table.base, folder) for folder in sorted(named))]))


def find_images(names: Sequence[str], table: Table, files: Collection[str]) -> list[str]:
    """The file of each image by its name in the json file, whether or not it is among ``files``.

    Folder and name go together in the way that finds the most of a sample: the name with its folders, without all but
    the last, or alone; below the set's folder, ``images/`` in it, or the split's folder in either.
    """
    sample = names[:: max(1, len(names) // _SAMPLE)]
    ways = [(kept, folder) for kept in (0, 2, 1) for folder in _candidates(table)]
    hits = [sum(_file(name, *way) in files for name in sample) for way in ways]
    best = ways[hits.index(max(hits))]
    return [_file(name, *best) for name in names]


def _placed(file: str) -> tuple[_Group, str, Table] | None:
    folder, _, name = file.rpartition("/")
    stem = name[: -len(".json")]
    if match := _STEM.fullmatch(stem):
        word, tail = match["split"], match["tail"] or ""
        folders = tuple(dict.fromkeys([word + tail, word, word.lower()]))
        return _Group(folder, match["kind"] or "", tail), _WORDS[word.lower()], Table(file, folders)
    above, _, last = folder.rpartition("/")
    if last.lower() in _WORDS:
        return _Group(above, stem, ""), _WORDS[last.lower()], Table(file, (last,))
    return None


def _without_splits(files: Sequence[str], asked: str, has_splits: bool) -> dict[_Group, dict[str, Table]]:
    """Files that are a set of their own: asked for by name, or where no file is called like a split."""
    found = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        stem = name[: -len(".json")]
        at_home = not folder or folder.lower() in _ANNOTATION_FOLDERS
        if _placed(file) is None and ((at_home and not has_splits) or asked in (stem, f"{folder}/{stem}")):
            found[_Group(folder, stem, "")] = {"all": Table(file, ())}
    return found


def _chosen(
    groups: Sequence[_Group], tables: Mapping[_Group, Mapping[str, Table]], asked: str, usual: Sequence[str]
) -> _Group:
    called = {group: _names(group, tables[group]) for group in groups}
    matching = [group for group in groups if not asked or asked in called[group]]
    if not asked and len(matching) > 1:
        first = [group for group in matching if group.kind in usual]
        matching = first if len(first) == 1 else matching
    if len(matching) == 1:
        return matching[0]
    choices = sorted(names[0] for names in called.values())
    if not matching:
        raise unknown("annotations", asked, choices)
    raise ValueError(f"several sets of annotations; choose one by #NAME: {some(choices, 20)}")


def _names(group: _Group, tables: Mapping[str, Table]) -> list[str]:
    """What a person may call it; the first is told as a choice."""
    stems = [table.file.rpartition("/")[2][: -len(".json")] for table in tables.values()]
    name = group.name or stems[0]
    return [name, group.kind, _join(group.folder, name), *stems]


def _candidates(table: Table) -> list[str]:
    base = table.base
    tops = [base, _join(base, "images"), _join(base, "Images"), _join(base, "JPEGImages")]
    inner = [_join(top, folder) for top in tops[:2] for folder in table.folders]
    return list(dict.fromkeys([*tops, *inner, table.file.rpartition("/")[0]]))


def _file(name: str, kept: int, folder: str) -> str:
    return _join(folder, "/".join(name.split("/")[-kept:] if kept else [name]))


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
