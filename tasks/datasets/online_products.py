"""online_products:FOLDER - Stanford Online Products: eBay's products, of which half are learnt from and half tested.

The folder holds ``Ebay_train.txt``, ``Ebay_test.txt`` and the folders that they name, ``bicycle_final/`` to
``toaster_final/``. For instance ``online_products:Stanford_Online_Products``.
"""

from collections.abc import Iterator
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside, once, read_lines
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse

LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
LISTS_FROM = "https://cvgl.stanford.edu/projects/lifted_struct, Stanford_Online_Products.zip"
HEADER = "image_id class_id super_class_id path"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open both official lists; classes are products, called by their numbers (Oh Song et al. 2016).

    The classes of train and test are others: each test image is to find those of its product among all test images.
    """
    root = options.places.find(parse(reference, "online_products", ()).path, "folder of Stanford Online Products")
    paths = {split: find_list([name], [root], LISTS_FROM) for split, name in LISTS.items()}
    items = [item for split, path in paths.items() for item in once(list(_items(split, path)), path)]
    classes = tuple(sorted({item.class_name for item in items}, key=int))
    return assemble(Found(f"online_products:{reference}", FolderFiles(root), items, classes, str(root)), options)


def _items(split: str, path: Path) -> Iterator[Item]:
    header, *lines = read_lines(path) or [""]
    if header.split() != HEADER.split():
        raise ValueError(f"{path}: its first line is {header!r}, not {HEADER!r}")
    for line in lines:
        cells = line.split(maxsplit=3)
        if len(cells) < 4 or not cells[1].isdecimal():
            raise ValueError(f"{path}: line {line!r} is not {HEADER}")
        file = inside(cells[3], path)
        yield Item(split, cells[1], file, file)


DATASETS = {"online_products": read}
