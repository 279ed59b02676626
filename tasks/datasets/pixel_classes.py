"""What the values of a set's maps stand for, and the check of every map against it before anything is computed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from backbones.images import UnreadableImage
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions, Split
from tasks.datasets.content_hashes import in_threads
from tasks.datasets.image_sizes import image_sizes
from tasks.datasets.label_maps import VOID, stored_values
from tasks.datasets.readable import listing
from tasks.datasets.remembered import load_table, save_table, table_path
from tasks.datasets.sources import Source, SourceImages


@dataclass(frozen=True)
class PixelClasses:
    """``names`` by stored value; values that share a name are one class. Values in ``void`` are of no class."""

    names: Mapping[int, str]
    void: frozenset[int]

    def __post_init__(self) -> None:
        """A value that is no 8-bit number, or a class and void at once, would be a mistake nobody sees."""
        if wrong := sorted(value for value in {*self.names, *self.void} if not 0 <= value <= 255):
            raise ValueError(f"maps hold values of 0 to 255, so {wrong[0]} is none")
        if both := sorted(self.void & set(self.names)):
            raise ValueError(f"value {both[0]} is void and the class {self.names[both[0]]!r}")
        if not 0 < len(self.classes) <= VOID:
            raise ValueError(f"{len(self.classes)} classes; a map tells 1 to {VOID} apart")

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of their (first) values.

        >>> PixelClasses({1: "car", 0: "road", 7: "car"}, frozenset({255})).classes
        ('road', 'car')
        """
        return tuple(dict.fromkeys(self.names[value] for value in sorted(self.names)))

    @property
    def meaning(self) -> UInt8[np.ndarray, "256"]:
        """The class each value stands for, VOID where it stands for none."""
        meaning, classes = np.full(256, VOID, dtype=np.uint8), self.classes
        for value, name in self.names.items():
            meaning[value] = classes.index(name)
        return meaning

    @property
    def known(self) -> frozenset[int]:
        """The values a map may hold."""
        return self.void | frozenset(self.names)


def assemble_maps(found: Found, known: Collection[int], options: OpenOptions) -> Dataset:
    """The dataset of images with maps, each map checked: that it can be read, its size, and that its values are known.

    What a map holds is remembered by its content. Raises ``ValueError`` naming the maps that are wrong, and why.
    """
    files = set(found.source.files())
    if missing := {
        item.map: f"is not there; it is the map of {item.name}" for item in found.items if item.map not in files
    }:
        raise ValueError(f"dataset {found.name!r}: {len(missing)} maps of classes are missing:\n{listing(missing)}")
    dataset = assemble(found, options)
    wrong = {
        name: reason
        for split in dataset.splits.values()
        for name, reason in _wrong(split, frozenset(known), options.cache)
    }
    if wrong:
        raise ValueError(
            f"dataset {found.name!r}: {len(wrong)} maps of classes are not as they should be:\n{listing(wrong)}"
        )
    return dataset


def _wrong(split: Split, known: Collection[int], cache: Path) -> Iterator[tuple[str, str]]:
    """The maps of a split that are wrong, each with the reason."""
    images = split.images
    assert split.maps is not None
    maps = split.maps.images
    assert isinstance(images, SourceImages)
    assert isinstance(maps, SourceImages)
    sizes = image_sizes(images.source, images.files, cache)
    for file, held, image in zip(maps.files, _held(maps, cache), images.files, strict=True):
        if reason := _reason(held, sizes[image], known):
            yield file, reason


def _reason(held: str, size: tuple[int, int] | None, known: Collection[int]) -> str:
    """Why a map is wrong, or nothing. ``held`` is :func:`_holds` of it."""
    if not held.startswith(_SOUND):
        return held
    height, width, *values = map(int, held.removeprefix(_SOUND).split())
    if (height, width) != size:
        image = "of no known size" if size is None else f"{size[1]} x {size[0]}"
        return f"is {width} x {height} pixels, but its image is {image}"
    if unknown := [str(value) for value in values if value not in known]:
        return f"holds {', '.join(unknown)}, which the list of classes does not name"
    return ""


_SOUND = "holds "


def _held(maps: SourceImages, cache: Path) -> list[str]:
    """Size and values of each map, or why it is none: remembered, so that no map is decoded twice."""
    table_file = table_path(cache, "maps", f"{maps.source.location} Pillow {version('pillow')}")
    known = load_table(table_file)
    content = dict(zip(maps.files, maps.sha256, strict=True))
    fresh = [file for file in maps.files if not content[file] or content[file] not in known]
    found = dict(zip(fresh, in_threads(partial(_holds, maps.source), fresh), strict=True))
    if new := {content[file]: held for file, held in found.items() if content[file]}:
        save_table(table_file, known | new)
    return [found[file] if file in found else known[content[file]] for file in maps.files]


def _holds(source: Source, file: str) -> str:
    try:
        stored = stored_values(source.read(file), "it")
    except UnreadableImage as error:
        return str(error).removeprefix("'it' ")
    except (OSError, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    values = np.flatnonzero(np.bincount(stored.reshape(-1), minlength=256))
    return _SOUND + " ".join(map(str, [*stored.shape, *values.tolist()]))
