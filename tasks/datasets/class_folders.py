"""The class-folder layout, read from file names alone: so a folder and a zip of it mean the same.

``[wrapper/][train|val|test/]CLASS/.../image.jpg``. A folder named like a split counts as one when it holds class
folders, so a class may be called ``train`` too.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.datasets.manifest import Item
from tasks.datasets.sources import printable, some

IMAGE_ENDINGS = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "bmp", "webp", "gif", "tif", "tiff", "ppm", "pgm"})
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Layout:
    """The images with their split and class, and what a reader of results should know about the rest."""

    items: tuple[Item, ...]
    warnings: tuple[str, ...]


def is_junk(name: str) -> bool:
    """Hidden files and what operating systems leave behind.

    >>> is_junk("cat/.DS_Store"), is_junk("__MACOSX/cat/a.jpg"), is_junk("cat/a.jpg")
    (True, True, False)
    """
    return any(part.startswith(".") or part.lower() in JUNK for part in name.split("/"))


def is_image(name: str) -> bool:
    """Whether the file's ending is an image's."""
    return name.rpartition("/")[2].lower().rpartition(".")[2] in IMAGE_ENDINGS and "." in name


def read_layout(files: Sequence[str], folders: Sequence[str], part: str, label_from_file: bool) -> Layout:
    """Splits and classes of the files below ``part`` (all of them when empty).

    Raises ``ValueError`` where there are no images, no such part, or two folders for one split.
    """
    start = f"{part}/" if part else ""
    kept = sorted(name for name in files if name.startswith(start) and not is_junk(name))
    images = [name for name in kept if is_image(name)]
    if not images:
        raise ValueError(_no_images(files, part))
    start = _look_through(images, start)
    splits = _split_folders(images, start, label_from_file)
    items, homeless = _place(images, start, splits, label_from_file)
    if not items:
        raise ValueError(
            f"{len(images)} images, but none in a class folder (first: {some(homeless, 1)}); "
            f"put them in CLASS/ folders, or say ?label=file-prefix for names like CLASS_1.jpg; "
            "without labels (to pretrain on) it is unlabelled:PATH"
        )
    warnings = [
        _counted([name for name in kept if not is_image(name)], "that are no images were ignored"),
        _counted(homeless, "in no class folder of a split were ignored"),
        "" if label_from_file else _empty_classes(folders, start, splits, {item.class_name for item in items}),
    ]
    return Layout(tuple(items), tuple(warning for warning in warnings if warning))


def _no_images(files: Sequence[str], part: str) -> str:
    if not part:
        return f"no images among {len(files)} files (endings read: {', '.join(sorted(IMAGE_ENDINGS))})"
    tops = sorted({name.split("/")[0] for name in files if "/" in name and not is_junk(name)})
    return f"no images below #{part}; there are: {some(tops, 12) or 'no folders'}"


def _look_through(images: Sequence[str], start: str) -> str:
    """Go below folders that hold everything there is, as archives often have one, but never below a split."""
    while True:
        rests = [name[len(start) :].split("/") for name in images]
        top = rests[0][0]
        if top.lower() in SPLIT_NAMES or any(len(rest) < 2 or rest[0] != top for rest in rests):
            return start
        if all(len(rest) < 3 for rest in rests):
            return start
        start += f"{top}/"


def _split_folders(images: Sequence[str], start: str, label_from_file: bool) -> dict[str, str]:
    """Which top folders are splits: folder name to split name."""
    depth = 2 if label_from_file else 3
    tops = {rest[0] for name in images if len(rest := name[len(start) :].split("/")) >= depth}
    splits = {top: SPLIT_NAMES[top.lower()] for top in sorted(tops) if top.lower() in SPLIT_NAMES}
    for split, count in Counter(splits.values()).items():
        if count > 1:
            both = [top for top, name in splits.items() if name == split]
            raise ValueError(f"folders {' and '.join(both)} both mean the {split} split; keep one of them")
    return splits


def _place(
    images: Sequence[str], start: str, splits: dict[str, str], label_from_file: bool
) -> tuple[list[Item], list[str]]:
    items: list[Item] = []
    homeless: list[str] = []
    for file in images:
        name = file[len(start) :]
        parts = name.split("/")
        split = splits.get(parts[0], "") if splits else "all"
        below = parts[1:] if splits else parts
        class_name = _file_prefix(file) if label_from_file else below[0]
        if not split or (len(below) < 2 and not label_from_file):
            homeless.append(file)
        else:
            items.append(Item(split, printable(class_name), file, name))
    return items, homeless


def _file_prefix(file: str) -> str:
    prefix, underscore, _ = file.rpartition("/")[2].partition("_")
    if not underscore or not prefix:
        raise ValueError(
            f"?label=file-prefix needs names like CLASS_1.jpg; {printable(file)!r} has no class before a '_'"
        )
    return prefix


def _counted(names: Sequence[str], what: str) -> str:
    return f"{len(names)} files {what}: {some(names)}" if names else ""


def _empty_classes(folders: Sequence[str], start: str, splits: dict[str, str], classes: set[str]) -> str:
    """Class folders without an image anywhere: no class, since it could be neither learnt nor asked for."""
    empty: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        below = folder[len(start) :].split("/") if folder.startswith(start) and not is_junk(folder) else []
        in_split = below[1:] if splits and below and below[0] in splits else [] if splits else below
        if len(in_split) == 1 and printable(in_split[0]) not in classes:
            empty[in_split[0]].append(folder)
    return f"{len(empty)} empty class folders are no classes: {some(sorted(empty))}" if empty else ""
