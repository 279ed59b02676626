"""pixels:PATH[?classes=FILE][&void=VALUES] - images with a map of classes each, with train/val/test if there.

The map of an image has its name in a folder called alike but for one word: ``images/train/1.jpg`` and
``masks/train/1.png`` (or ``annotations/``, ``labels/``, ...), ``train/1.jpg`` and ``semantic_train/1.png``. For
instance ``pixels:coco_mini.zip`` or ``pixels:my_set?classes=classes.txt&void=0,255``: a list of classes is YAML (a
mapping of values to names, or a list, alone or under ``classes`` or ``names``) or text with a name a line, from 0.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from backbones.strict_yaml import load_yaml
from tasks.datasets.assembly import Found
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import SPLIT_NAMES, is_image, is_junk
from tasks.datasets.label_maps import VOID
from tasks.datasets.manifest import Item
from tasks.datasets.pixel_classes import PixelClasses, assemble_maps
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source, printable, some

IMAGE_WORDS = frozenset({"image", "images", "img", "imgs", "jpegimages"})
MAP_WORDS = frozenset(
    {"mask", "masks", "annotation", "annotations", "label", "labels", "map", "maps", "semantic", "segmentation"}
)
VOID_NAMES = frozenset({"unlabeled", "unlabelled", "void", "ignore", "ignored"})
LIST_ENDINGS = ("yaml", "yml", "txt")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open images with a map of classes each.

    Pixels are of no class (void) where the map has a value that ``?void=`` names; where it is not given, 255 unless the
    list names it, and values whose class is called ``unlabeled`` or the like, which a warning then tells.
    Raises ``FileNotFoundError`` naming the places looked in, and ``ValueError`` naming images without a map, two maps
    of one image, and maps of another size, of values without a class, or that are no maps.
    """
    parts = parse(reference, "pixels", ("classes", "void"))
    name = f"pixels:{reference}"
    source = open_source(parts.path, options.places)
    try:
        if parts.part:
            raise ValueError(f"part {parts.part!r}; such sets have no parts, name the folder itself")
        files = [file for file in source.files() if not is_junk(file)]
        top = _wrapper(files)
        named = _class_names(source, files, top, parts.settings.get("classes", ""))
        pixel_classes, notes = _void_apart(named, parts.settings.get("void"))
        items, left = _items(files, top)
    except ValueError as error:
        raise ValueError(f"dataset {name!r}: {error}") from error
    found = Found(
        name, source, items, pixel_classes.classes, parts.path,
        warnings=(*notes, *left), target="pixels", meaning=pixel_classes.meaning,
    )  # fmt: skip
    return assemble_maps(found, pixel_classes.known, options)


def _wrapper(files: Sequence[str]) -> str:
    """The folder that holds everything, as archives often have one, with its slash; else nothing."""
    tops = {file.partition("/")[0] for file in files}
    return f"{tops.pop()}/" if len(tops) == 1 and all("/" in file for file in files) else ""


def _items(files: Iterable[str], top: str) -> tuple[list[Item], list[str]]:
    """Every image with its map, and a warning where maps have no image."""
    images, maps = dict[tuple[str, ...], str](), dict[tuple[str, ...], str]()
    for file in filter(is_image, files):
        key, is_map = _key(file.removeprefix(top))
        held = maps if is_map else images
        if key in held:
            what = "the map" if is_map else "an image"
            raise ValueError(f"{printable(held[key])} and {printable(file)} are both {what} of one name; rename one")
        held[key] = file
    if not maps:
        raise ValueError(
            f"no map among {len(images)} images; maps are in folders with a word of {', '.join(sorted(MAP_WORDS))} "
            "in their names"
        )
    if lost := [file for key, file in images.items() if key not in maps]:
        raise ValueError(f"{len(lost)} of {len(images)} images have no map of their name: {some(lost)}")
    spare = [file for key, file in maps.items() if key not in images]
    items = [Item(_split(key), "", file, file.removeprefix(top), map=maps[key]) for key, file in images.items()]
    return items, [f"{len(spare)} maps without an image were ignored: {some(spare)}"] if spare else []


def _key(name: str) -> tuple[tuple[str, ...], bool]:
    """What an image and its map share: the words of their folders but those for images and maps, and the stem.

    >>> _key("semantic_train/1.png"), _key("images/train/1.jpg")
    ((('train', '1'), True), (('train', '1'), False))
    """
    path = PurePosixPath(name)
    words = [word for folder in path.parts[:-1] for word in re.split(r"[_\-. ]", folder)]
    kept = [word for word in words if word.lower() not in IMAGE_WORDS | MAP_WORDS]
    return (*kept, path.stem), any(word.lower() in MAP_WORDS for word in words)


def _split(key: Sequence[str]) -> str:
    """The split the folders name first, of any case; else all."""
    return next((SPLIT_NAMES[word.lower()] for word in key[:-1] if word.lower() in SPLIT_NAMES), "all")


def _class_names(source: Source, files: Sequence[str], top: str, asked: str) -> dict[int, str]:
    """The name of each value, from the file asked for, or from the only list of classes at the top of the set."""
    at_top = [file for file in files if file.startswith(top) and "/" not in file.removeprefix(top)]
    lists = [file for file in at_top if file.rpartition(".")[2].lower() in LIST_ENDINGS]
    if asked:
        lists = [file for file in (asked, top + asked) if file in files][:1]
    elif len(lists) > 1:
        raise ValueError(f"{len(lists)} files may list the classes ({some(lists)}); say ?classes=FILE")
    if not lists:
        raise ValueError(
            f"no list of classes{f' {asked!r}' if asked else ''}; put a classes.txt with a name a line (the first is "
            "value 0), or a classes.yaml of values and names, beside the folders"
        )
    file = lists[0]
    try:
        text = source.read(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(file)} is not UTF-8 text: {error}") from error
    if file.lower().endswith("txt"):
        return dict(enumerate(line.strip() for line in text.strip().splitlines()))
    return _named_in(load_yaml(text, printable(file)), printable(file))


def _named_in(content: Any, file: str) -> dict[int, str]:
    """The names in a list of classes as YAML holds it."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("classes", "names") if key in content), content)
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{file} has no classes: a mapping of values to names, or a list of names")
    for value, name in content.items():
        if not isinstance(value, int) or isinstance(value, bool) or not isinstance(name, str) or not name:
            raise ValueError(f"{file}: {value!r}: {name!r} is no value with a name, like '3: car'")
    return dict(content)


def _void_apart(named: Mapping[int, str], asked: str | None) -> tuple[PixelClasses, list[str]]:
    """The classes without what is void, and a warning where that was told by a name alone."""
    if asked is not None:
        texts = [text.strip() for text in asked.split(",") if text.strip()]
        if wrong := [text for text in texts if not text.isdecimal()]:
            raise ValueError(f"void={wrong[0]!r}; give the values of pixels of no class, like void=0,255")
        void, notes = {int(text) for text in texts}, list[str]()
    else:
        called = {value: name for value, name in named.items() if name.lower() in VOID_NAMES}
        void = {*called, *({VOID} - set(named))}
        notes = [
            f"pixels of value {value} ({name}) are of no class; ?void= says otherwise" for value, name in called.items()
        ]
    return PixelClasses({value: name for value, name in named.items() if value not in void}, frozenset(void)), notes


DATASETS = {"pixels": read}
