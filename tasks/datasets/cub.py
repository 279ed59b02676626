"""cub:FOLDER[#metric] - Caltech-UCSD Birds-200-2011 by its own lists; ``#metric`` parts its classes, for retrieval.

The folder holds ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``, ``classes.txt`` and ``images/``.
For instance ``cub:CUB_200_2011#metric`` (learnt from the first half of the classes, tested on the other).
"""

from collections.abc import Mapping
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside, once, read_lines
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse

LISTS_FROM = "https://data.caltech.edu/records/65de6-vp158"
SPLITS = {"1": "train", "0": "test"}


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the official split, or with ``#metric`` the one of metric learning: of the classes, in their order, the
    first half are train and the other half test (Oh Song et al. 2016).

    Raises ``FileNotFoundError`` naming a list that is missing, ``ValueError`` for lists that do not fit together.
    """
    parts = parse(reference, "cub", ())
    if parts.part not in ("", "metric"):
        raise ValueError(
            f"dataset 'cub:{reference}': part {parts.part!r}; choose metric, or none for the official split"
        )
    root = options.places.find(parts.path, "folder of CUB-200-2011")
    files, labels, names = (_numbered(root, name) for name in ("images.txt", "image_class_labels.txt", "classes.txt"))
    listed = {image: inside(file, root / "images.txt") for image, file in files.items()}
    classes = tuple(names.values())
    if parts.part:
        train = set(list(names)[: len(names) // 2])
        split = {image: "train" if label in train else "test" for image, label in labels.items()}
    else:
        split = _split(_numbered(root, "train_test_split.txt"), root)
    for name, table in (("image_class_labels.txt", labels), ("train_test_split.txt", split)):
        if lost := [image for image in files if image not in table]:
            raise ValueError(f"{root / name} lacks {len(lost)} images of images.txt, the first of them {lost[0]}")
    if lost := [image for image in files if labels[image] not in names]:
        raise ValueError(f"image {lost[0]} has class {labels[lost[0]]}, which is not in {root / 'classes.txt'}")
    items = [Item(split[image], names[labels[image]], f"images/{file}", file) for image, file in listed.items()]
    once(items, root / "images.txt")
    return assemble(Found(f"cub:{reference}", FolderFiles(root), items, classes, str(root)), options)


def _numbered(root: Path, name: str) -> dict[str, str]:
    """What the list says of each number, in its order. Raises ``ValueError`` for a line without two words."""
    path, found = find_list([name], [root], LISTS_FROM), dict[str, str]()
    for line in read_lines(path):
        number, _, said = line.partition(" ")
        if not said or number in found:
            raise ValueError(f"{path}: line {line!r} {'has a number twice' if said else 'is no number and a word'}")
        found[number] = said.strip()
    return found


def _split(flags: Mapping[str, str], root: Path) -> dict[str, str]:
    if wrong := [flag for flag in flags.values() if flag not in SPLITS]:
        raise ValueError(f"{root / 'train_test_split.txt'}: {wrong[0]!r}; each image is 1 (train) or 0 (test)")
    return {image: SPLITS[flag] for image, flag in flags.items()}


DATASETS = {"cub": read}
