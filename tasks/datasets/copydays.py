"""copydays:FOLDER[#KIND,...][?distractors=FOLDER] - INRIA Copydays: transformed photographs, and their originals.

The folder holds ``original/`` and any of ``strong/``, ``crops/`` and ``jpegqual/``, these two with a folder for each
strength. Folders called like the archives, ``copydays_strong/``, will do too. For instance
``copydays:copydays#strong``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import printable, some

FROM = "https://thoth.inrialpes.fr/~jegou/data.php"
ORIGINALS = ("original", "copydays_original")
KINDS = {
    "strong": ("strong", "copydays_strong"),
    "crops": ("crops", "crop", "copydays_crop"),
    "jpeg": ("jpegqual", "jpeg", "copydays_jpeg"),
}
DISTRACTOR = "distractor"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the transformed images of the kinds named (all that are there, where none is) as queries; the originals are
    the gallery, with every image of the folder ``distractors`` below, which no query was made from.

    The class is the photograph: an image's number without its last two digits, 2000 for ``200000.jpg``, the original,
    and for ``200001.jpg``, a copy of it (Douze et al. 2009). So each query has one right answer, and its average
    precision is one over the rank of that.
    """
    parts = parse(reference, "copydays", ("distractors",))
    root = options.places.find(parts.path, "folder of Copydays")
    source = FolderFiles(root)
    images = [file for file in source.files() if is_image(file) and not is_junk(file)]
    kinds = [kind for kind in parts.part.split(",") if kind]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"dataset 'copydays:{reference}': kind {unknown[0]!r}; choose from {', '.join(KINDS)}")
    folders = {kind: _folder(KINDS[kind], images) for kind in kinds or KINDS}
    if missing := [kind for kind in folders if not folders[kind] and (kinds or not any(folders.values()))]:
        raise FileNotFoundError(f"no images in a folder {' or '.join(KINDS[missing[0]])} of {root}; get it from {FROM}")
    items = [*_photographs("gallery", _folder(ORIGINALS, images), images, root)]
    for folder in filter(None, folders.values()):
        items += _photographs("query", folder, images, root)
    if extra := parts.settings.get("distractors", "").strip("/"):
        items += [Item("gallery", DISTRACTOR, file, file) for file in images if file.startswith(f"{extra}/")]
        if items[-1].class_name != DISTRACTOR:
            raise FileNotFoundError(f"no images in the folder {extra!r} of {root} to distract with")
    _check(items, root)
    classes = tuple(sorted({item.class_name for item in items}))
    return assemble(Found(f"copydays:{reference}", source, items, classes, str(root)), options)


def _folder(names: Sequence[str], images: list[str]) -> str:
    """Which of its names a folder has; empty where there is none with images."""
    return next((name for name in names if any(file.startswith(f"{name}/") for file in images)), "")


def _photographs(split: str, folder: str, images: list[str], root: Path) -> Iterator[Item]:
    for file in images:
        if file.startswith(f"{folder}/"):
            number = file.rpartition("/")[2].partition(".")[0]
            if not number.isdecimal() or len(number) < 3:
                raise ValueError(f"{root}: {printable(file)!r} is not called by a number, as 200001.jpg is")
            yield Item(split, number[:-2], file, file)


def _check(items: list[Item], root: Path) -> None:
    """Raise where a photograph has no original, or two."""
    originals = [item.class_name for item in items if item.split == "gallery" and item.class_name != DISTRACTOR]
    if not originals:
        raise FileNotFoundError(f"no images in a folder {' or '.join(ORIGINALS)} of {root}; get it from {FROM}")
    if twice := sorted({name for name in originals if originals.count(name) > 1}):
        raise ValueError(f"the originals of {root} hold more than one image of {some(twice)}; theirs end in 00")
    if orphans := [item.name for item in items if item.split == "query" and item.class_name not in set(originals)]:
        raise ValueError(f"{len(orphans)} images of {root} have no original: {some(orphans)}")


DATASETS = {"copydays": read}
