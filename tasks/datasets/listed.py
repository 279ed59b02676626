"""Lists that come with a set: found beside its images or said to be missing, and never pointing outside the set."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tasks.datasets.manifest import Item
from tasks.datasets.sources import printable, some


def find_list(names: Sequence[str], folders: Sequence[Path], get_it: str) -> Path:
    """The first of the files that exists in the first folder that has one.

    Raises ``FileNotFoundError`` naming the file, the folders and where to get it.
    """
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    looked = ", ".join(str(folder.absolute()) for folder in dict.fromkeys(folders))
    raise FileNotFoundError(f"no file {' or '.join(names)} in {looked}; get it from {get_it}")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without empty ones. Raises ``ValueError`` for what is no UTF-8 text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


class Numbered(NamedTuple):
    """An image of a list whose lines are ``PATH NUMBER``, and its class's number."""

    file: str
    number: int

    @property
    def folder(self) -> str:
        """The name of the folder the image is in; empty at the top."""
        return PurePosixPath(self.file).parent.name


def numbered(path: Path, least: int = 0) -> Iterator[Numbered]:
    """The lines of such a list; a path may hold blanks.

    Raises ``ValueError`` naming list and image for what is no path and number, a number below ``least``, a path out of
    the set, and one that is listed twice.
    """
    seen = dict[str, int]()
    for position, line in enumerate(read_lines(path), start=1):
        file, _, text = line.rpartition(" ")
        file, number = file.strip(), int(text) if text.removeprefix("-").isdecimal() else least - 1
        if not file or number < least:
            raise ValueError(
                f"{path} image {position}: {printable(line)!r:.80} is no path and class number of {least} or more, "
                "like 'cat/1.jpg 3'"
            )
        if file in seen:
            raise ValueError(f"{path} image {position}: {printable(file)!r} is also image {seen[file]}")
        seen[file] = position
        yield Numbered(inside(file, path), number)


def once(items: Sequence[Item], path: Path) -> Sequence[Item]:
    """The items, if no file is among them twice; else raises ``ValueError``.

    >>> len(once([Item("train", "cup", "a.jpg", "a.jpg"), Item("test", "cup", "b.jpg", "b.jpg")], Path("list.txt")))
    2
    """
    if twice := [file for file, count in Counter(item.file for item in items).items() if count > 1]:
        raise ValueError(f"{path} names {len(twice)} images more than once: {some(twice)}")
    return items


def inside(name: str, path: Path) -> str:
    """The name, which the list at ``path`` gives, if it stays in the set's folder; else raises ``ValueError``.

    >>> inside("a/abbey/sun_1.jpg", Path("Training_01.txt"))
    'a/abbey/sun_1.jpg'
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path} names {printable(name)!r}, which is outside the set's folder; it is not read")
    return name
