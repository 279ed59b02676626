"""Files of a folder on disk; symbolic links are followed, a loop of them once."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderFiles:
    """Every file below ``root``."""

    root: Path

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self.root.absolute())

    def files(self) -> Sequence[str]:
        """Names of files, sorted; links that lead nowhere are among them, since somebody meant a file there."""
        return sorted(name for name, is_folder in _walk(self.root, "", frozenset()) if not is_folder)

    def folders(self) -> Sequence[str]:
        """Names of folders, sorted."""
        return sorted(name for name, is_folder in _walk(self.root, "", frozenset()) if is_folder)

    def stamp(self, name: str) -> str:
        """Size, times of change in nanoseconds and inode. Raises ``OSError`` for a file that is gone."""
        return stamp_of(self.root / name)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self.root / name).read_bytes()


def stamp_of(path: Path) -> str:
    """What a rewritten file cannot keep: size, modification and change time in nanoseconds, inode."""
    status = os.stat(path)
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _walk(root: Path, below: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    status = os.stat(root / below)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(root / below) as entries:
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir():
                yield name, True
                yield from _walk(root, name, above | {here})
            elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
                yield name, False
