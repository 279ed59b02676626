"""What a person writes after ``images:`` or ``retrieval:``: a path, a part of it, and how to label it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backbones.places import Places
from backbones.plugins import unknown
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.sources import Source
from tasks.datasets.zip_source import ZipFiles

_PATTERN = re.compile(r"(?P<path>.*?)(#(?P<part>[^#?]*))?(\?(?P<settings>[\w-]+=[^?#]*))?", re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """``PATH#PART?key=value`` taken apart; ``part`` is empty where none was named."""

    path: str
    part: str
    settings: dict[str, str]

    def choice(self, setting: str, choices: Iterable[str], default: str) -> str:
        """What a setting was given as. Raises ``ValueError`` with the choices for anything that is not among them."""
        given = self.settings.get(setting, default)
        if given not in (known := tuple(choices)):
            raise unknown(f"value of {setting}", given, known)
        return given


def parse(reference: str, reader: str, known: tuple[str, ...]) -> Reference:
    """Take a reference apart. Raises ``ValueError`` for a setting that is not among ``known``.

    >>> parse("pacs.zip#photo", "images", ())
    Reference(path='pacs.zip', part='photo', settings={})
    >>> parse("mini.zip?label=file-prefix", "images", ("label",)).settings
    {'label': 'file-prefix'}
    """
    match = _PATTERN.fullmatch(reference)
    if match is None or not match["path"]:
        raise ValueError(f"dataset {reader + ':' + reference!r} names no path; write {reader}:PATH")
    pairs = [pair.partition("=") for pair in (match["settings"] or "").split("&") if pair]
    settings = {key: value for key, _, value in pairs}
    for key in settings:
        if key not in known:
            raise unknown(f"setting of dataset {reader + ':' + reference!r},", key, known)
    return Reference(match["path"], (match["part"] or "").strip("/"), settings)


def open_source(path: str, places: Places) -> Source:
    """The folder or zip at that path. Raises ``OSError`` or ``ValueError`` saying what is wrong with it."""
    found = places.find(path, "folder or zip of images")
    return FolderFiles(Path(found)) if found.is_dir() else ZipFiles(found)
