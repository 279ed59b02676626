"""image_lists:FOLDER?SPLIT=LIST - images by the official lists of a set, whose lines are ``PATH NUMBER``.

For instance ``image_lists:DomainNet?train=clipart_train.txt&test=clipart_test.txt``, or
``image_lists:visda-2017?all=train/image_list.txt``. Splits are train, val, test or all.
"""

from pathlib import Path, PurePosixPath

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside, numbered
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import printable

SPLITS = ("train", "val", "test", "all")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the images that the lists name, beside each list; a class is called as its folder, in the numbers' order.

    Raises ``ValueError`` naming list and line where there is no number, or where a class has two.
    """
    parts = parse(reference, "image_lists", SPLITS)
    if parts.part or not parts.settings:
        raise ValueError(f"dataset 'image_lists:{reference}' names no list; write image_lists:FOLDER?train=LIST")
    root = options.places.find(parts.path, "folder of images and their lists")
    items, numbers = list[Item](), dict[str, int]()
    for split, name in parts.settings.items():
        path = find_list([inside(name, root)], [root], "where the set is from: lists come with it")
        folder = PurePosixPath(name).parent
        for line in numbered(path):
            file, number, class_name = line.file, line.number, line.folder
            if not class_name:
                raise ValueError(f"{path} says {number} of {printable(file)!r}, which is in no folder to be called by")
            if numbers.setdefault(class_name, number) != number:
                raise ValueError(
                    f"{path} says {number} of {file!r}, others of {class_name!r} are {numbers[class_name]}"
                )
            items.append(Item(split, class_name, str(folder / file), file))
    _one_class_a_number(numbers, root)
    classes = tuple(sorted(numbers, key=numbers.__getitem__))
    return assemble(Found(f"image_lists:{reference}", FolderFiles(root), items, classes, parts.path), options)


def _one_class_a_number(numbers: dict[str, int], root: Path) -> None:
    owner = dict[int, str]()
    for class_name, number in numbers.items():
        if owner.setdefault(number, class_name) != class_name:
            raise ValueError(f"the lists in {root} give {number} to {owner[number]!r} and to {class_name!r}")


DATASETS = {"image_lists": read}
