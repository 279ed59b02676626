"""imagenet-c-files:FOLDER[?corruptions=fog,snow&levels=1,3] - ImageNet-C as its authors' archives unpack.

The layout is ``[noise|blur|weather|digital|extra/]FUNCTION/LEVEL/WNID/NAME.JPEG``, each function directly in the folder
or in its group's; a split each, called ``fog/3``. For instance ``imagenet-c-files:imagenet-c``; ImageNet's 1,000
classes in their order.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.corruption_splits import SETTINGS, Choice, choice_of
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.imagenet import wordnet_ids
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import printable, some

GROUPS = ("noise", "blur", "weather", "digital", "extra")
FROM = "https://zenodo.org/records/2235448"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open what is there of the corruptions and levels asked for.

    Raises ``FileNotFoundError`` where none is, or where one that was asked for by name is not, and ``ValueError`` for
    a class that is not among the 1,000.
    """
    parts = parse(reference, "imagenet-c-files", SETTINGS)
    root = options.places.find(parts.path, "folder of ImageNet-C")
    chosen = choice_of(parts.settings)
    folders = {name: folder for name in chosen.corruptions if (folder := _folder(root, name))}
    missing = [name for name in chosen.corruptions if name not in folders]
    if not folders or (missing and "corruptions" in parts.settings):
        raise FileNotFoundError(
            f"{root} has no folder {some(missing)}, neither directly nor in {', '.join(GROUPS)}; get it from {FROM}"
        )
    classes = wordnet_ids()
    source = FolderFiles(root)
    items = [*_items(source.files(), folders, chosen, frozenset(classes), root)]
    found = Found(f"imagenet-c-files:{reference}", source, items, classes, str(root), licence="CC BY 4.0")
    return assemble(found, options)


def _folder(root: Path, name: str) -> str | None:
    places = [name, *(f"{group}/{name}" for group in GROUPS)]
    return next((place for place in places if (root / place).is_dir()), None)


def _items(
    files: Sequence[str], folders: Mapping[str, str], chosen: Choice, classes: frozenset[str], root: Path
) -> Iterator[Item]:
    starts = {f"{folders[name]}/{level}/": f"{name}/{level}" for name, level in chosen.splits() if name in folders}
    for file in files:
        start = next((start for start in (_head(file, 2), _head(file, 3)) if start in starts), "")
        if not start or not is_image(file) or is_junk(file):
            continue
        below = file[len(start) :]
        label = below.partition("/")[0]
        if label not in classes:
            raise ValueError(f"{root}: {printable(file)!r}: {label!r} is none of the 1,000 WordNet ids of ImageNet-1k")
        yield Item(starts[start], label, file, f"{starts[start]}/{below}")


def _head(file: str, depth: int) -> str:
    """The first folders of a name.

    >>> _head("noise/fog/1/n01440764/a.JPEG", 3)
    'noise/fog/1/'
    """
    return "/".join(file.split("/")[:depth]) + "/"


DATASETS = {"imagenet-c-files": read}
