"""inaturalist:FOLDER#2019|2021|2021-mini - official train and val, as the archives unpack, or torchvision's.

For instance ``inaturalist:inat2021#2021-mini``.

2019 takes its splits, classes and labels from ``train2019.json`` and ``val2019.json``; the images lie together. In 2021
the folders say all that the annotation files do: the split, and the class with its number (``00000_Animalia_...``). So
they are read alone; the annotations of 2.7 million images would take gigabytes of memory to say the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import printable

FROM = "https://github.com/visipedia/inat_comp/tree/master/"
LISTS_2019 = {"train": "train2019.json", "val": "val2019.json"}
IMAGES_2019 = ("train_val2019", "2019")
FOLDERS_2021 = {
    "2021": {"train": ("train", "2021_train"), "val": ("val", "2021_valid")},
    "2021-mini": {"train": ("train_mini", "2021_train_mini"), "val": ("val", "2021_valid")},
}
"""What the archive unpacks to, and what torchvision renames that to."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a year. Classes are in the official order of their numbers; ``torchvision#2021`` is what it downloaded.

    In 2021 they are called by their folders; in 2019 by the names in ``categories.json`` (published later) or else in
    the annotations, or by their numbers where those names are not all different.
    """
    parts = parse(reference, "inaturalist", ())
    if parts.part not in ("2019", *FOLDERS_2021):
        years = ", ".join(("2019", *FOLDERS_2021))
        raise ValueError(f"dataset 'inaturalist:{reference}': year {parts.part!r}; choose from {years}")
    ours = parts.path == "torchvision" and parts.part != "2019"
    root = _downloaded(parts.part, options) if ours else options.places.find(parts.path, "folder of iNaturalist")
    items, classes = _of_2019(root) if parts.part == "2019" else _of_2021(root, parts.part)
    return assemble(Found(f"inaturalist:{reference}", FolderFiles(root), items, classes, str(root)), options)


def _of_2021(root: Path, part: str) -> tuple[list[Item], tuple[str, ...]]:
    folders = {split: _folder(root, names, f"{FROM}2021") for split, names in FOLDERS_2021[part].items()}
    items = [
        Item(split, _numbered(file, root / folder), f"{folder}/{file}", f"{split}/{file}")
        for split, folder in folders.items()
        for file in FolderFiles(root / folder).files()
        if is_image(file) and not is_junk(file)
    ]
    return items, tuple(sorted({item.class_name for item in items}))


def _downloaded(part: str, options: OpenOptions) -> Path:
    """The folder below the cache that holds the splits as torchvision downloads and renames them."""
    import torchvision.datasets

    root = options.cache / "torchvision" / "inaturalist"
    for _, version in FOLDERS_2021[part].values():
        if (root / version).is_dir():
            continue
        if not options.download:
            raise FileNotFoundError(f"no folder {version} in {root.absolute()}")
        try:
            torchvision.datasets.INaturalist(str(root), version, download=True)
        except (RuntimeError, OSError) as error:
            raise OSError(f"iNaturalist's {version} cannot be downloaded ({' '.join(str(error).split())})") from error
    return root


def _numbered(file: str, folder: Path) -> str:
    """The class folder of a file: its number in five digits, then seven ranks from kingdom to species."""
    name = file.partition("/")[0]
    if not (name[:5].isdecimal() and name.count("_") >= 7):
        raise ValueError(f"{folder}: {printable(name)!r} is no class of iNaturalist 2021 (00000_KINGDOM_..._SPECIES)")
    return name


def _of_2019(root: Path) -> tuple[list[Item], tuple[str, ...]]:
    lists = {split: find_list([name], [root], f"{FROM}2019") for split, name in LISTS_2019.items()}
    folder = _folder(root, IMAGES_2019, f"{FROM}2019")
    tables = {split: _json(path, dict) for split, path in lists.items()}
    named = root / "categories.json"
    with _fields_of(named if named.is_file() else lists["train"]):
        class_name = _class_names(_json(named, list) if named.is_file() else tables["train"]["categories"])
    items = list[Item]()
    for split, path in lists.items():
        with _fields_of(path):
            labelled = list(_labelled(tables[split], path, class_name))
        items += [Item(split, class_name[number], f"{folder}/{file}", f"{split}/{file}") for file, number in labelled]
    return items, tuple(class_name.values())


def _class_names(categories: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    names = {int(each["id"]): str(each["name"]) for each in sorted(categories, key=lambda each: int(each["id"]))}
    return names if len(set(names.values())) == len(names) else {number: str(number) for number in names}


def _labelled(table: Mapping[str, Any], path: Path, class_name: Mapping[int, str]) -> Iterator[tuple[str, int]]:
    """Each image of a list, below the folder of images, with the number of its class."""
    number = {row["image_id"]: row["category_id"] for row in table["annotations"]}
    for image in table["images"]:
        if number.get(image["id"]) not in class_name:
            raise ValueError(
                f"{path}: image {printable(image['file_name'])!r} has category {number.get(image['id'])}, "
                f"which is none of the {len(class_name)}"
            )
        yield inside(image["file_name"], path).partition("/")[2], number[image["id"]]


@contextmanager
def _fields_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: an entry has no field {error}") from error


def _folder(root: Path, names: Sequence[str], get_it: str) -> str:
    for name in names:
        if (root / name).is_dir():
            return name
    raise FileNotFoundError(f"no folder {' or '.join(names)} in {root}; get it from {get_it}")


def _json(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(found, kind):
        raise ValueError(f"{path} holds a {type(found).__name__}, not a {kind.__name__}")
    return found


DATASETS = {"inaturalist": read}
