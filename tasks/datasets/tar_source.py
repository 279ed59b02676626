"""Files of a tar archive, read in place by offset: nothing is unpacked, so nothing can be written anywhere.

A tar inside the tar (as ImageNet's train) is a folder of its name. Members that would lie outside a folder, links,
devices, members named twice and sizes beyond the archive are refused. Packed archives cannot be read in place.
Opening walks all headers: 18 microseconds a member were measured, so 23 seconds for ImageNet's train.
"""

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tasks.datasets.folder_source import stamp_of
from tasks.datasets.sources import printable


class TarFiles:
    """The members of an unpacked tar; each costs one read. Raises ``ValueError`` for one that is not to be trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = stamp_of(path)
        self._members: dict[str, tuple[int, int]] = {}
        self._open()
        try:
            for name, offset, size in _members(self._file, 0, os.fstat(self._file.fileno()).st_size, ""):
                if name in self._members:
                    raise ValueError(f"member {printable(name)!r} is there twice")
                self._members[name] = (offset, size)
        except (tarfile.TarError, ValueError) as error:
            raise ValueError(f"{path} cannot be read in place as a tar archive: {error}") from error

    @property
    def location(self) -> str:
        """The archive's absolute path."""
        return str(self.path.absolute())

    def files(self) -> Sequence[str]:
        """Names of members, sorted; a member of an inner tar ``a.tar`` is ``a/member``."""
        return sorted(self._members)

    def folders(self) -> Sequence[str]:
        """None: what has no file is not told."""
        return ()

    def stamp(self, name: str) -> str:
        """The stamp of the archive: whoever changes a member changes it."""
        return self._stamp

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        offset, size = self._members[name]
        data = os.pread(self._file.fileno(), size, offset)
        if len(data) != size:
            raise ValueError(f"{self.path} is cut off at member {printable(name)!r}")
        return data

    def _open(self) -> None:
        self._file: BinaryIO = self.path.open("rb")

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if stamp_of(self.path) != self._stamp:
            raise OSError(f"{self.path} changed while it was in use")
        self._open()


def _members(file: BinaryIO, start: int, end: int, folder: str) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each file between ``start`` and ``end``; an inner tar is entered, one level deep."""
    file.seek(start)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        inner = []
        for member in archive:
            if reason := _distrust(member, end):
                raise ValueError(f"member {printable(member.name)!r} {reason}")
            if member.name.endswith(".tar") and not folder:
                inner.append(member)
            elif member.isfile():
                yield folder + member.name.removeprefix("./"), member.offset_data, member.size
    for member in inner:
        within = member.name.removeprefix("./").removesuffix(".tar")
        yield from _members(file, member.offset_data, member.offset_data + member.size, f"{within}/")


def _distrust(member: tarfile.TarInfo, end: int) -> str:
    """Why a member is refused, or nothing."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        return "points outside the archive; such archives are not read"
    if not (member.isdir() or (member.isfile() and not member.issparse())):
        return "is a link, a device or sparse; such archives are not read"
    if member.offset_data + member.size > end:
        return "lies beyond the end of its archive, which is cut off"
    return ""
