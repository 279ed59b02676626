"""Files of a zip archive, read in place: by offset, without a lock, a reopening or an extraction.

A zip names its members itself, so nothing it says is trusted: members that would lie outside a folder, links, members
named twice, encrypted ones, and sizes beyond the caps are refused before a byte of them is read.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.datasets.folder_source import stamp_of
from tasks.datasets.sources import printable

MAX_MEMBERS = 3_000_000
"""More than twice ImageNet; a zip of more is refused."""
MAX_MEMBER_BYTES = 256 * 2**20
"""No encoded image or index comes near it; a larger member is refused, which bounds what a zip bomb can cost."""


class ZipFiles:
    """The members of a zip. Stored members cost one read; deflated ones are inflated, never beyond their stated size.

    Raises ``ValueError`` for an archive that is damaged or not to be trusted, naming the member.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = stamp_of(path)
        self._open()
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, UnicodeDecodeError, struct.error) as error:
            raise ValueError(f"{path} is not a readable zip archive: {error}") from error
        if len(entries) > MAX_MEMBERS:
            raise ValueError(f"{path} has {len(entries)} members; at most {MAX_MEMBERS} are read")
        self._members: dict[str, tuple[int, int, int, bool, int]] = {}
        self._folders: list[str] = []
        for entry in entries:
            self._admit(entry)

    @property
    def location(self) -> str:
        """The zip's absolute path."""
        return str(self.path.absolute())

    def files(self) -> Sequence[str]:
        """Names of members, sorted."""
        return sorted(self._members)

    def folders(self) -> Sequence[str]:
        """Names of folders that have a member of their own."""
        return sorted(self._folders)

    def stamp(self, name: str) -> str:
        """The stamp of the zip: whoever changes a member changes it."""
        return self._stamp

    def read(self, name: str) -> bytes:
        """The bytes of one member, checked against its checksum."""
        if name not in self._members:
            raise FileNotFoundError(f"no member {printable(name)!r} in {self.path}")
        offset, packed_size, size, deflated, checksum = self._members[name]
        header = os.pread(self._descriptor, 30, offset)
        if len(header) != 30 or header[:4] != b"PK\x03\x04":
            raise ValueError(f"{self.path} is damaged at member {printable(name)!r}: no header at byte {offset}")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        data = os.pread(self._descriptor, packed_size, offset + 30 + name_length + extra_length)
        if deflated:
            data = _inflate(data, size)
        if len(data) != size or zlib.crc32(data) != checksum:
            raise ValueError(f"{self.path} is damaged at member {printable(name)!r}: its checksum does not match")
        return data

    def _admit(self, entry: zipfile.ZipInfo) -> None:
        if reason := _distrust(entry, self._file_size):
            raise ValueError(f"{self.path}: member {printable(entry.filename)!r} {reason}")
        if entry.is_dir():
            self._folders.append(entry.filename.rstrip("/"))
            return
        if entry.filename in self._members:
            raise ValueError(f"{self.path}: member {printable(entry.filename)!r} is there twice")
        deflated = entry.compress_type == zipfile.ZIP_DEFLATED
        self._members[entry.filename] = (
            entry.header_offset,
            entry.compress_size,
            entry.file_size,
            deflated,
            entry.CRC,
        )

    def _open(self) -> None:
        self._file = self.path.open("rb")
        self._descriptor = self._file.fileno()

    @cached_property
    def _file_size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_file", "_descriptor")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if stamp_of(self.path) != self._stamp:
            raise OSError(f"{self.path} changed while it was in use")
        self._open()


def _distrust(entry: zipfile.ZipInfo, archive_size: int) -> str:
    """Why a member is refused, or nothing."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        return "points outside the archive; such archives are not read"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device; such archives are not read"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that cannot be read in place; store the files: zip -0 -r NEW.zip FOLDER"
    if max(entry.file_size, entry.compress_size) > MAX_MEMBER_BYTES:
        return f"claims {entry.file_size} bytes; at most {MAX_MEMBER_BYTES} are read"
    if entry.header_offset + entry.compress_size > archive_size:
        return "lies beyond the end of the file; the archive is cut off"
    return ""


def _inflate(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(data, size + 1)
    except zlib.error:
        return b""
