"""sun:FOLDER - SUN397 with the first of its ten official partitions: 50 images a class in train, 50 in test.

For instance ``sun:SUN397``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside, read_lines
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse

LISTS = {"train": "Training_01.txt", "test": "Testing_01.txt"}
LISTS_FROM = "Partitions.zip of https://vision.princeton.edu/projects/2010/SUN/"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the folder that holds ``a/`` to ``z/``, with its lists in it or in its ``Partitions/``.

    Classes are called as in ``ClassName.txt``, in its order, without the letter before: ``apartment_building/outdoor``.
    """
    root = options.places.find(parse(reference, "sun", ()).path, "folder of SUN397")
    folders = [root, root / "Partitions", root / "partitions"]
    class_names = {
        line: line.split("/", 2)[-1] for line in read_lines(find_list(["ClassName.txt"], folders, LISTS_FROM))
    }
    lists = {split: find_list([name], folders, LISTS_FROM) for split, name in LISTS.items()}
    items = [item for split, path in lists.items() for item in _items(split, path, class_names)]
    found = Found(f"sun:{reference}", FolderFiles(root), items, tuple(class_names.values()), str(root))
    return assemble(found, options)


def _items(split: str, path: Path, class_names: Mapping[str, str]) -> Iterator[Item]:
    for line in read_lines(path):
        file, folder = inside(line.lstrip("/"), path), line.rpartition("/")[0]
        if folder not in class_names:
            raise ValueError(f"{path} lists {line!r}, whose class {folder!r} is not in ClassName.txt")
        yield Item(split, class_names[folder], file, file)


DATASETS = {"sun": read}
