"""imglist:LIST.txt[#ROOT] - images listed a line each with the number of their class, as OpenOOD's official lists are.

For instance ``imglist:benchmark_imglist/cifar10/*_cifar10.txt#images_classic``, where the star stands for train, val
and test, or ``imglist:benchmark_imglist/cifar10/test_tin.txt#images_classic``, one list alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from backbones.places import Places
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.listed import Numbered, numbered
from tasks.datasets.manifest import Item
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import printable

SPLITS = ("train", "val", "test")
UNKNOWN = -1
"""The number of an image that is of none of the classes."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open lists of lines ``relative/path.jpg 3``. ``ROOT``, a folder or zip, holds the images (default: the list's).

    A list is the split its name begins with (``train_``, ``val_``, ``test_``), else all there is. Classes are in the
    order of their numbers, and called by the folders of their images where these tell them apart (in the first list),
    else by their numbers. Images numbered -1, of none of the classes, are called by their folders too, for what a
    folder's name is worth: it says whether an unknown image is of a class that was learnt.
    """
    parts = parse(reference, "imglist", ())
    paths = _paths(parts.path, options.places)
    try:
        lists = {split: list(numbered(path, UNKNOWN)) for split, path in paths.items()}
        items, classes = _classified(lists)
    except ValueError as error:
        raise ValueError(f"dataset 'imglist:{reference}': {error}") from error
    root = parts.part or str(next(iter(paths.values())).parent)
    return assemble(
        Found(f"imglist:{reference}", open_source(root, options.places), items, classes, parts.path), options
    )


def _paths(path: str, places: Places) -> dict[str, Path]:
    """The lists there are, by split."""
    if "*" not in path:
        found = places.find(path, "list of images")
        begins = found.name.partition("_")[0].lower()
        return {begins if begins in SPLITS else "all": found}
    folder, _, name = path.rpartition("/")
    at = places.find(folder or ".", "folder of lists")
    paths = {split: at / name.replace("*", split) for split in SPLITS if (at / name.replace("*", split)).is_file()}
    if not paths:
        raise FileNotFoundError(f"no list {name!r} in {at}, with any of {', '.join(SPLITS)} for the star")
    return paths


def _classified(lists: Mapping[str, Sequence[Numbered]]) -> tuple[list[Item], tuple[str, ...]]:
    """Every image with its class, and the classes: first those that have numbers, in their order."""
    names = _names(next(iter(lists.values())))
    for number in sorted({line.number for lines in lists.values() for line in lines} - {UNKNOWN}):
        names.setdefault(number, str(number))
    ordered = dict.fromkeys(names[number] for number in sorted(names))
    if len(ordered) < len(names):
        raise ValueError("a folder of one class is called by the number of another; rename it")
    items = []
    for split, lines in lists.items():
        for line in lines:
            own = line.folder if line.folder and line.folder not in ordered else "unknown"
            name = printable(names[line.number] if line.number != UNKNOWN else own)
            items.append(Item(split, name, line.file, printable(line.file)))
    others = sorted({item.class_name for item in items} - set(ordered))
    return items, (*ordered, *others)


def _names(lines: Sequence[Numbered]) -> dict[int, str]:
    """The folders of the classes' images, where each class has one of its own; else nothing."""
    pairs = {(line.number, line.folder) for line in lines if line.number != UNKNOWN}
    numbers, folders = {number for number, _ in pairs}, {folder for _, folder in pairs}
    if len(pairs) == len(numbers) == len(folders) and "" not in folders:
        return {number: printable(folder) for number, folder in pairs}
    return {}


DATASETS = {"imglist": read}
