"""karpathy:FOLDER[#train|val|test] - images with captions, split by a file of Karpathy's (Flickr30k, COCO 2014).

The folder holds ``dataset_flickr30k.json`` with the images in ``flickr30k-images/``, or ``dataset_coco.json`` with them
in ``train2014/`` and ``val2014/``. For instance ``karpathy:flickr30k#test`` (the test images alone).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.listed import find_list, inside, once
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import printable

LISTS = ("dataset_flickr30k.json", "dataset_coco.json")
LISTS_FROM = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}
"""Karpathy and Fei-Fei (2015) kept the rest of COCO's val apart; like everyone since, it is learnt from with train."""
FOLDERS = ("", "flickr30k-images", "flickr30k_images", "images")
"""Where the images lie that the file names without a folder; COCO's have theirs, in ``filepath``."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a folder with one of the two lists. Captions are the sentences as they were written (``raw``), in order.

    Raises ``FileNotFoundError`` naming the list that is missing, ``ValueError`` for a list that is damaged, or an
    image that it names twice or that is not there.
    """
    parts = parse(reference, "karpathy", ())
    if parts.part not in ("", *SPLITS.values()):
        choices = ", ".join(dict.fromkeys(SPLITS.values()))
        raise ValueError(f"dataset 'karpathy:{reference}': part {parts.part!r}; choose from {choices}, or none for all")
    root = options.places.find(parts.path, "folder of captioned images")
    path = find_list(LISTS, [root], LISTS_FROM)
    try:
        items = once(list(_items(_images(path), root, path)), path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: an image lacks {error}") from error
    wanted = [item for item in items if parts.part in ("", item.split)]
    found = Found(f"karpathy:{reference}", FolderFiles(root), wanted, (), str(root), target="captions")
    return assemble(found, options)


def _images(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        images = json.loads(path.read_bytes())["images"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: it is no JSON with a list of images ({error})") from error
    return list(images)


def _items(images: Sequence[Mapping[str, Any]], root: Path, path: Path) -> Iterator[Item]:
    folder = _folder(images, root)
    for image in images:
        if image["split"] not in SPLITS:
            raise ValueError(f"{path}: split {image['split']!r}; choose from {', '.join(SPLITS)}")
        file = inside("/".join(filter(None, (image.get("filepath") or folder, image["filename"]))), path)
        captions = tuple(sentence["raw"] for sentence in image["sentences"])
        if not all(isinstance(caption, str) for caption in captions):
            raise ValueError(f"{path}: a sentence of {printable(file)!r} is no text")
        yield Item(SPLITS[image["split"]], "", file, file, captions=captions)


def _folder(images: Sequence[Mapping[str, Any]], root: Path) -> str:
    """The folder that holds the first image that is named without one."""
    first = next((str(image["filename"]) for image in images if not image.get("filepath")), "")
    return next((folder for folder in FOLDERS if first and (root / folder / first).is_file()), FOLDERS[1])


DATASETS = {"karpathy": read}
