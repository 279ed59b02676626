"""in_shop:FOLDER - DeepFashion's In-shop Clothes Retrieval: official train, query and gallery.

``list_eval_partition.txt`` is in the folder or its ``Eval/`` or ``Anno/``, and ``img/``, which it names, in the folder
or its ``Img/``. For instance ``in_shop:In-shop``.
"""

from collections.abc import Iterator
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside, once, read_lines
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse

LIST = "list_eval_partition.txt"
LIST_FROM = "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html"
HEADER = "image_name item_id evaluation_status"
SPLITS = ("train", "query", "gallery")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the official partition (Liu et al. 2016); classes are the items. The high-resolution images, in
    ``img_highres/``, are not what is benchmarked.

    Raises ``FileNotFoundError`` naming what is missing, ``ValueError`` for a list that does not hold what it says.
    """
    root = options.places.find(parse(reference, "in_shop", ()).path, "folder of In-shop Clothes Retrieval")
    path = find_list([LIST], [root, root / "Eval", root / "Anno"], LIST_FROM)
    images = next((folder for folder in (root, root / "Img") if (folder / "img").is_dir()), None)
    if images is None:
        raise FileNotFoundError(f"no folder img in {root} or {root / 'Img'}; get it from {LIST_FROM}")
    items = once(list(_items(path)), path)
    classes = tuple(sorted({item.class_name for item in items}))
    return assemble(Found(f"in_shop:{reference}", FolderFiles(images), items, classes, str(root)), options)


def _items(path: Path) -> Iterator[Item]:
    count, header, *lines = [*read_lines(path), "", ""]
    lines = lines[:-2] if header else []
    if header.split() != HEADER.split():
        raise ValueError(f"{path}: its second line is {header!r}, not {HEADER!r}")
    if count != str(len(lines)):
        raise ValueError(f"{path}: its first line says {count!r} images, and {len(lines)} follow; get it anew")
    for line in lines:
        cells = line.split()
        if len(cells) != 3 or cells[2] not in SPLITS:
            raise ValueError(f"{path}: line {line!r} is not {HEADER}, with one of {', '.join(SPLITS)}")
        file = inside(cells[0], path)
        yield Item(cells[2], cells[1], file, file)


DATASETS = {"in_shop": read}
