"""Where encoded images lie: the source contract, and the images of a split read from one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable


@runtime_checkable
class Source(Protocol):
    """Files under relative names with forward slashes, in a folder, a zip, memory or another library's hands."""

    @property
    def location(self) -> str:
        """Where it is, as an absolute path where it has one: content hashes are remembered by it."""
        ...

    def files(self) -> Sequence[str]:
        """Every file's name, sorted: the order a disk lists them in never matters."""
        ...

    def folders(self) -> Sequence[str]:
        """Every folder's name, sorted, where folders can be empty."""
        ...

    def stamp(self, name: str) -> str:
        """Changes whenever the file may have changed; empty where nothing may be remembered of it."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a file, from several threads and processes at once. Raises ``OSError`` or ``ValueError``."""
        ...


@dataclass(frozen=True)
class SourceImages:
    """Images of one source, in a fixed order, with the hash of each one's content."""

    source: Source = field(repr=False)
    files: tuple[str, ...] = field(repr=False)
    sha256: tuple[str, ...] = field(repr=False)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the contents' hashes, row by row."""
        return hashlib.sha256("\n".join(self.sha256).encode()).hexdigest()

    @cached_property
    def names(self) -> Sequence[str]:
        """The files' names; bytes that are no UTF-8 appear as ``\\xNN``."""
        return tuple(printable(file) for file in self.files)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image."""
        return self.source.read(self.files[index])


@dataclass(frozen=True)
class MemoryFiles:
    """Files held in memory, made by a reader itself."""

    location: str
    contents: Mapping[str, bytes] = field(repr=False)

    def files(self) -> Sequence[str]:
        """Names, sorted."""
        return sorted(self.contents)

    def folders(self) -> Sequence[str]:
        """None: memory has no empty folders."""
        return ()

    def stamp(self, name: str) -> str:
        """Empty: hashing memory is quicker than remembering it."""
        return ""

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return self.contents[name]


def printable(name: str) -> str:
    """A file name that can be printed and stored: undecodable bytes are escaped.

    >>> printable("caf\\udce9.jpg")
    'caf\\\\xe9.jpg'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and that there are more.

    >>> some(["a", "b", "c"], most=2)
    'a, b, ...'
    """
    return ", ".join(map(printable, names[:most])) + ", ..." * (len(names) > most)
