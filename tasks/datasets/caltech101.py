"""caltech101:FOLDER - Caltech-101 by the usual rule: 30 images a class to train on, drawn once, others to test on.

For instance ``caltech101:caltech-101`` for a folder of that name below the data root.
"""

import hashlib
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import read_layout
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse

IMAGES = "101_ObjectCategories"
NO_CLASS = "BACKGROUND_Google"
TRAIN_PER_CLASS = 30
"""The largest of the numbers that the authors name as popular; the smallest class has 31 images."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open ``101_ObjectCategories``, or the folder it is in.

    Classes are in the order of their sorted names, capitals first, as in torchvision. The authors state no split.
    """
    root = _root(options.places.find(parse(reference, "caltech101", ()).path, "folder of Caltech-101"))
    source = FolderFiles(root)
    layout = read_layout(source.files(), source.folders(), "", label_from_file=False)
    images = [item for item in layout.items if item.class_name != NO_CLASS]
    classes = tuple(sorted({item.class_name for item in images}))
    items = [drawn for name in classes for drawn in _split([item for item in images if item.class_name == name])]
    return assemble(
        Found(f"caltech101:{reference}", source, items, classes, str(root), warnings=layout.warnings), options
    )


def _root(folder: Path) -> Path:
    for candidate in (folder, folder / "caltech-101", folder / "caltech101"):
        if (candidate / IMAGES).is_dir():
            return candidate / IMAGES
    if folder.name == IMAGES:
        return folder
    raise FileNotFoundError(
        f"{folder} has no folder {IMAGES}; get it from https://data.caltech.edu/records/mzrjq-6wc02"
    )


def _split(images: list[Item]) -> list[Item]:
    """The images of a class, those with the smallest SHA-256 of ``CLASS/image_0001.jpg`` as train; one is always test.

    A draw that no library's next version can change.
    """
    drawn = sorted(images, key=lambda item: hashlib.sha256(item.name.encode()).hexdigest())
    count = min(TRAIN_PER_CLASS, len(images) - 1)
    return [item._replace(split="train" if row < count else "test") for row, item in enumerate(drawn)]


DATASETS = {"caltech101": read}
