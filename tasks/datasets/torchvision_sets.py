"""torchvision:NAME - the sets torchvision knows, official splits; downloaded by it where there is a network.

For instance ``torchvision:CIFAR10``; files that are there already are looked for below ``--data-root``, laid out as
torchvision does.

CIFAR's files are pickles, which torchvision loads itself, and only after each has the MD5 sum it carries for it: a
file made to run code would have to be a second preimage of a known sum, which nobody can make.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.folder_source import stamp_of
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.manifest import Item

BOOLEAN = {"train": {"train": True}, "test": {"train": False}}
TRAIN_TEST = {"train": {"split": "train"}, "test": {"split": "test"}}
THREE = {**TRAIN_TEST, "val": {"split": "val"}}
NOT_LETTERS = re.compile(r"[\W_]")


@dataclass(frozen=True)
class Known:
    """A class of torchvision: the arguments of each split, the files it looks for, whether it takes a loader.

    With a loader it hands out paths, so files keep their bytes; without, pixels, which become PNG files.

    ``classes`` counts them where torchvision has no names for them; they are then called by number. ``offered`` says
    whether it can download the set.
    """

    splits: Mapping[str, Mapping[str, Any]]
    files: str
    has_loader: bool = False
    classes: int = 0
    offered: bool = True


KNOWN: Mapping[str, Known] = {
    "CIFAR10": Known(BOOLEAN, "cifar-10-python.tar.gz, unpacked to cifar-10-batches-py/"),
    "CIFAR100": Known(BOOLEAN, "cifar-100-python.tar.gz, unpacked to cifar-100-python/"),
    "Country211": Known(
        {**TRAIN_TEST, "val": {"split": "valid"}}, "country211.tgz, unpacked to country211/", has_loader=True
    ),
    "DTD": Known(THREE, "dtd-r1.0.1.tar.gz, unpacked to dtd/dtd/", has_loader=True),
    "EuroSAT": Known({"all": {}}, "EuroSAT.zip, unpacked to eurosat/2750/", has_loader=True),
    "FGVCAircraft": Known(THREE, "fgvc-aircraft-2013b.tar.gz, unpacked to fgvc-aircraft-2013b/", has_loader=True),
    "FashionMNIST": Known(BOOLEAN, "the four *-ubyte files in FashionMNIST/raw/"),
    "Flowers102": Known(
        THREE,
        "102flowers.tgz, unpacked to flowers-102/jpg/, and imagelabels.mat, setid.mat in flowers-102/",
        has_loader=True,
    ),
    "Food101": Known(TRAIN_TEST, "food-101.tar.gz, unpacked to food-101/", has_loader=True),
    "KMNIST": Known(BOOLEAN, "the four *-ubyte files in KMNIST/raw/"),
    "MNIST": Known(BOOLEAN, "the four *-ubyte files in MNIST/raw/"),
    "OxfordIIITPet": Known(
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
        "images.tar.gz and annotations.tar.gz, unpacked to oxford-iiit-pet/",
    ),
    "STL10": Known(TRAIN_TEST, "stl10_binary.tar.gz, unpacked to stl10_binary/"),
    "StanfordCars": Known(
        TRAIN_TEST,
        "devkit/, cars_train/, cars_test/ and cars_test_annos_withlabels.mat in stanford_cars/",
        has_loader=True,
        offered=False,
    ),
    "SVHN": Known(TRAIN_TEST, "train_32x32.mat and test_32x32.mat", classes=10),
}


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a set that is below a data root (or its ``torchvision`` folder), or download it below the cache.

    Raises ``OSError`` naming the files and where to put them when it is not there and cannot be downloaded, and
    ``ValueError`` where files are there that torchvision cannot read.
    """
    if reference not in KNOWN:
        raise unknown("torchvision dataset", reference, KNOWN)
    known = KNOWN[reference]
    root, parts = _find(reference, known, options)
    source = LibraryFiles(f"torchvision:{reference} in {root}", parts, known.has_loader)
    names = {split: _class_names(known, part) for split, part in parts.items()}
    items = [item for split in parts for item in _items(source, split, names[split])]
    found = Found(
        f"torchvision:{reference}",
        source,
        items,
        tuple(dict.fromkeys(chain(*names.values()))),  # the library numbers a split's classes from that split alone
        f"torchvision.datasets.{reference}",
        made_here=not known.has_loader,
    )
    return assemble(found, options)


@dataclass(frozen=True)
class LibraryFiles:
    """The items of torchvision datasets as files ``split/0000012``: their own bytes, or their pixels as a PNG."""

    location: str
    parts: Mapping[str, Any] = field(repr=False)
    has_paths: bool

    def files(self) -> Sequence[str]:
        """Names, sorted."""
        return sorted(f"{split}/{index:07}" for split, part in self.parts.items() for index in range(len(part)))

    def folders(self) -> Sequence[str]:
        """None."""
        return ()

    def stamp(self, name: str) -> str:
        """The stamp of the item's own file; empty where the library hands out pixels and names no file."""
        return stamp_of(Path(self._item(name)[0])) if self.has_paths else ""

    def read(self, name: str) -> bytes:
        """The encoded bytes of one item."""
        image = self._item(name)[0]
        return Path(image).read_bytes() if self.has_paths else encode_png(_pixels(image))

    def labelled(self, split: str) -> Sequence[tuple[str, int]]:
        """Each file of a split with its label."""
        files = [f"{split}/{index:07}" for index in range(len(self.parts[split]))]
        return [(file, int(self._item(file)[1])) for file in files]

    def _item(self, name: str) -> tuple[Any, Any]:
        split, _, index = name.partition("/")
        item: tuple[Any, Any] = self.parts[split][int(index)]
        return item


def _find(name: str, known: Known, options: OpenOptions) -> tuple[Path, dict[str, Any]]:
    cache = options.cache / "torchvision"
    lacking = ""
    for root in [*_roots(name, options.places.roots), cache]:
        try:
            return root, _load(name, known, root, download=False)
        except RuntimeError:
            continue  # nothing of it is there
        except FileNotFoundError as error:
            lacking = f" ({' '.join(str(error).split())})"
    put = f"put {known.files} below {cache.absolute()} or a data root"
    if not (options.download and known.offered):
        offered = "" if known.offered else ", and torchvision cannot download it"
        raise FileNotFoundError(f"torchvision:{name} is not here{lacking}{offered}; {put}")
    try:
        return cache, _load(name, known, cache, download=True)
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"torchvision:{name} is not here{lacking} and cannot be downloaded ({reason}); {put}") from error


def _roots(name: str, roots: Sequence[Path]) -> Iterator[Path]:
    """The folders torchvision may have been given: a root, its ``torchvision``, one called like the set (cifar-10)."""
    for root in roots:
        yield from (root, root / "torchvision")
        yield from sorted(p for p in root.glob("*") if NOT_LETTERS.sub("", p.name).lower() == name.lower())


def _load(name: str, known: Known, root: Path, download: bool) -> dict[str, Any]:
    import torchvision.datasets

    library = getattr(torchvision.datasets, name)
    loader = {"loader": str} if known.has_loader else {}
    try:
        return {
            split: library(root=str(root), download=download, **arguments, **loader)
            for split, arguments in known.splits.items()
        }
    except (RuntimeError, OSError):
        raise  # it is not there
    except Exception as error:  # whatever the library's parsers trip over in a file that is there
        raise ValueError(
            f"torchvision:{name} in {root.absolute()} is damaged ({type(error).__name__}: {error}); "
            f"put {known.files} there again"
        ) from error


def _items(source: LibraryFiles, split: str, names: Sequence[str]) -> Iterator[Item]:
    for file, label in source.labelled(split):
        if not 0 <= label < len(names):
            raise ValueError(f"{source.location}: {file} has label {label}, outside its {len(names)} classes")
        yield Item(split, names[label], file, file)


def _class_names(known: Known, part: Any) -> tuple[str, ...]:
    if known.classes:
        return tuple(map(str, range(known.classes)))
    if not hasattr(part, "classes"):  # STL10 leaves them out where class_names.txt is missing
        raise ValueError(f"torchvision's {type(part).__name__} in {part.root} has lost its class names; {known.files}")
    return tuple(map(str, part.classes))


def _pixels(image: Any) -> Any:
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


DATASETS = {"torchvision": read}
