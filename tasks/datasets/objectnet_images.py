"""objectnet_images:FOLDER[#all] - ObjectNet's 113 classes that ImageNet-1k has, or all 313, without the red border.

For instance ``objectnet_images:objectnet-1.0``, whose classes are WordNet ids (``n02708093|n03196217`` where one is any
of several of ImageNet's), or ``objectnet_images:objectnet-1.0#all``, whose classes have ObjectNet's own names.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.border_source import WithoutBorder
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.imagenet import wordnet_ids
from tasks.datasets.listed import find_list
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import some
from tasks.datasets.targets import ANY_OF

BORDER = 2
"""Pixels of red around each image, there to keep it out of training sets, which its terms ask to remove in testing."""
GET_IT = "objectnet-1.0.zip of https://objectnet.dev, which brings its folder mappings/"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the folder that holds ``images/`` and ``mappings/``; every image is a test image, as its terms demand.

    What ObjectNet's folders mean, and which of ImageNet's classes its own are, is read from the mappings it brings.
    """
    parts = parse(reference, "objectnet_images", ())
    if parts.part not in ("", "all"):
        raise unknown("part of dataset 'objectnet_images',", parts.part, ["all"])
    root = options.places.find(parts.path, "folder of ObjectNet")
    root = next((each for each in (root, root / "objectnet-1.0") if (each / "images").is_dir()), root)
    if not (root / "images").is_dir():
        raise FileNotFoundError(f"{root} has no folder images; get {GET_IT}")
    labels = _mapping(root, "folder_to_objectnet_label.json")
    names = {label: label for label in labels.values()} if parts.part else _in_imagenet(root)
    source = FolderFiles(root / "images")
    items = list(_items(source, labels, names))
    classes = tuple(sorted({item.class_name for item in items}))  # of WordNet ids this is ImageNet's order too
    found = Found(f"objectnet_images:{reference}", WithoutBorder(source, BORDER), items, classes, parts.path)
    return assemble(found, options)


def _items(source: FolderFiles, labels: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Item]:
    images = [file for file in source.files() if is_image(file) and not is_junk(file)]
    if foreign := sorted({file.partition("/")[0] for file in images} - set(labels)):
        raise ValueError(
            f"{source.location}: {len(foreign)} folders are not in folder_to_objectnet_label.json: {some(foreign)}"
        )
    for file in images:
        if (name := names.get(labels[file.partition("/")[0]])) is not None:
            yield Item("test", name, file, file)


def _in_imagenet(root: Path) -> dict[str, str]:
    """By ObjectNet's label, the WordNet ids it stands for."""
    line_of = {int(index): int(line) for index, line in _mapping(root, "pytorch_to_imagenet_2012_id.json").items()}
    path = _find(root, "imagenet_to_label_2012_v2")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    official = wordnet_ids()
    if sorted(line_of) != list(range(len(official))) or sorted(line_of.values()) != list(range(len(lines))):
        raise ValueError(
            f"{root / 'mappings'}: the classes' numbers and {path.name} are not of {len(official)} classes"
        )
    ids: dict[str, list[str]] = {}
    for index, line in sorted(line_of.items()):
        ids.setdefault(lines[line], []).append(official[index])
    meant = {}
    for label, several in _mapping(root, "objectnet_to_imagenet_1k.json").items():
        texts = [text.strip() for text in several.split(";")]
        for text in texts:
            if len(ids.get(text, ())) != 1:
                raise ValueError(
                    f"objectnet_to_imagenet_1k.json: {label!r} is said to be {text!r}, which {path.name} has "
                    f"{len(ids.get(text, ()))} times"
                )
        meant[label] = ANY_OF.join(sorted(ids[text][0] for text in texts))
    return meant


def _mapping(root: Path, name: str) -> dict[str, str]:
    path = _find(root, name)
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no mapping of names")
    return {str(key): str(value) for key, value in found.items()}


def _find(root: Path, name: str) -> Path:
    return find_list([name], [root / "mappings", root], GET_IT)


DATASETS = {"objectnet_images": read}
