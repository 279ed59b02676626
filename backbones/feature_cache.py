"""Feature matrices on disk: content-addressed, checksummed block by block, whole or resumable, never half-read.

An entry is a folder holding ``features.npy`` and ``entry.json`` (layout, a checksum a block, facts). While it is built
the folder carries another name and a journal says which blocks are safely on disk; a killed build goes on from there.
"""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

ABANDONED_DAYS = 30
"""A build nobody came back to for this long is deleted when a cache is opened."""


@dataclass(frozen=True)
class Layout:
    """Where row ``i`` of a (rows, dim) matrix lies: blocks of ``block_rows`` rows (the last may be shorter)."""

    rows: int
    dim: int
    dtype: str
    block_rows: int

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.block_rows)

    def block(self, index: int) -> slice:
        """The rows of one block."""
        return slice(index * self.block_rows, min(self.rows, (index + 1) * self.block_rows))

    @property
    def header(self) -> bytes:
        """The ``.npy`` header (version 1.0) of the whole matrix, padded to a multiple of 64 bytes."""
        described = f"{{'descr': '{self.dtype}', 'fortran_order': False, 'shape': ({self.rows}, {self.dim}), }}"
        padding = -(len(described) + 11) % 64
        return (
            b"\x93NUMPY\x01\x00"
            + (len(described) + padding + 1).to_bytes(2, "little")
            + (described + " " * padding + "\n").encode("ascii")
        )

    def extent(self, index: int) -> tuple[int, int]:
        """(offset in the file, length) of a block, in bytes."""
        rows, row_bytes = self.block(index), self.dim * np.dtype(self.dtype).itemsize
        return len(self.header) + rows.start * row_bytes, (rows.stop - rows.start) * row_bytes


def block_rows(rows: int) -> int:
    """Rows a block: about a sixteenth of the matrix, so that holding one stays far below holding all; at most 512.

    A multiple of 32, since blocks are filled by whole batches.

    >>> block_rows(100), block_rows(8_000), block_rows(1_000_000)
    (32, 512, 512)
    """
    return min(512, -(-rows // 512) * 32)


class Building:
    """A matrix being written, a block at a time. Blocks found whole from an earlier, killed build are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._features, self._journal = folder / "features.npy", folder / "journal.jsonl"
        self.layout: Layout | None = None
        self.checksums: dict[int, str] = {}
        self._recover()

    def write(self, layout: Layout, index: int, values: NDArray[Any]) -> None:
        """Put one block on disk for good. Raises ``OSError`` naming the file when the disk is full."""
        if self.layout != layout:
            self._begin(layout)
        data = np.ascontiguousarray(values, dtype=layout.dtype).data.cast("B")
        with naming(self._features), self._features.open("r+b", buffering=0) as file:
            _write_at(file.fileno(), layout.extent(index)[0], data)
            os.fsync(file.fileno())
        self.checksums[index] = hashlib.sha256(data).hexdigest()
        self._note({"block": index, "sha256": self.checksums[index]})

    def blocks(self, layout: Layout) -> Iterator[NDArray[Any]]:
        """Every block in order, read back (not mapped: mapped pages would count as held)."""
        for index in range(layout.blocks):
            data = _read_block(self._features, layout, index)
            yield np.frombuffer(data, dtype=layout.dtype).reshape(-1, layout.dim)

    def _begin(self, layout: Layout) -> None:
        self.layout, self.checksums = layout, {}
        self._journal.unlink(missing_ok=True)
        with naming(self._features):
            self._features.write_bytes(layout.header)
        self._note(asdict(layout))

    def _note(self, line: Mapping[str, Any]) -> None:
        with naming(self._journal), self._journal.open("ab", buffering=0) as file:
            _write_all(file.fileno(), (json.dumps(line) + "\n").encode())
            os.fsync(file.fileno())

    def _recover(self) -> None:
        """Take over the blocks whose checksum still holds; rewrite the journal so that no torn line stays in it."""
        try:
            lines = [json.loads(line) for line in self._journal.read_bytes().split(b"\n")[:-1]]
            layout = Layout(**lines[0])
            noted = {line["block"]: line["sha256"] for line in lines[1:]}
            with self._features.open("r+b") as file:
                file.write(layout.header)
                file.flush()  # else the size below is that from before
                file.truncate(min(os.fstat(file.fileno()).st_size, sum(layout.extent(layout.blocks - 1))))
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return  # nothing usable: the first write begins anew
        self.layout = layout
        self.checksums = {index: noted[index] for index in _good_blocks(self._features, layout, noted)}
        whole = [asdict(layout), *({"block": index, "sha256": value} for index, value in self.checksums.items())]
        fresh = self._journal.with_suffix(".new")
        with naming(fresh):
            fresh.write_text("".join(json.dumps(line) + "\n" for line in whole), encoding="utf-8")
            os.replace(fresh, self._journal)


class FeatureCache:
    """Entries below one folder, by key (a sha256). Safe with any number of processes on it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[tuple[str, int, int]] = set()
        self._remove_abandoned()

    def path(self, key: str) -> Path:
        """Where the finished entry of a key is, or would be."""
        return self.root / key[:2] / key

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the key: others wait. The kernel lets go of it when a process dies."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / key):
            yield

    def open(self, key: str) -> tuple[NDArray[Any], dict[str, Any]] | None:
        """The matrix, read-only and mapped, with its facts; None when it is not there whole.

        The first time in a process every block is held against its checksum. A damaged entry is turned back into a
        build that keeps its good blocks, so call this holding the key.
        """
        folder = self.path(key)
        if not folder.exists():
            return None
        entry = _read_entry(folder)
        if entry is None:
            shutil.rmtree(folder)
            return None
        layout, checksums = Layout(**entry["layout"]), dict(enumerate(entry["checksums"]))
        if self._stamp(folder) not in self._verified:
            good = _good_blocks(folder / "features.npy", layout, checksums) if _is_whole(folder, layout) else []
            if len(good) < layout.blocks or not _is_whole(folder, layout):
                self._demote(key, layout, checksums)
                return None
            self._verified.add(self._stamp(folder))
        matrix = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        return matrix, entry["facts"]

    def reopened(self, key: str) -> tuple[NDArray[Any], dict[str, Any]]:
        """The entry this process has just finished. Raises ``OSError`` where it is not there whole."""
        found = self.open(key)
        if found is None:
            raise OSError(f"{self.path(key)} was damaged while it was written; run again")
        return found

    def build(self, key: str) -> Building:
        """Begin the entry, or go on with what a killed build left. Call holding the key."""
        return Building(self._building(key))

    def finish(self, key: str, building: Building, made_of: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Publish a build with all its blocks in one rename; ``made_of`` (what the key hashes) is kept to be read."""
        layout = building.layout
        if layout is None or len(building.checksums) != layout.blocks:
            raise RuntimeError(f"{building.folder} holds {len(building.checksums)} blocks; it is not complete")
        body = {
            "layout": asdict(layout),
            "checksums": [building.checksums[index] for index in range(layout.blocks)],
            "made_of": made_of,
            "facts": facts,
        }
        entry = building.folder / "entry.json"
        with naming(entry), entry.open("w", encoding="utf-8") as file:
            json.dump({"body": body, "sha256": digest(body)}, file)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(building.folder)
        self.path(key).parent.mkdir(exist_ok=True)
        os.rename(building.folder, self.path(key))
        _sync_folder(self.path(key).parent)
        (self.path(key) / "journal.jsonl").unlink()
        self._verified.add(self._stamp(self.path(key)))

    def discard(self, building: Building) -> None:
        """Throw a build away, good blocks and all."""
        shutil.rmtree(building.folder)

    def _building(self, key: str) -> Path:
        return self.root / f".building-{key}"

    def _stamp(self, folder: Path) -> tuple[str, int, int]:
        status = (folder / "features.npy").stat() if (folder / "features.npy").exists() else folder.stat()
        return folder.name, status.st_mtime_ns, status.st_size

    def _demote(self, key: str, layout: Layout, checksums: Mapping[int, str]) -> None:
        target = self._building(key)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(self.path(key), target)
        lines = [asdict(layout), *({"block": index, "sha256": value} for index, value in checksums.items())]
        (target / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        (target / "entry.json").unlink()

    def _remove_abandoned(self) -> None:
        for folder in self.root.glob(".building-*"):
            if time.time() - folder.stat().st_mtime < ABANDONED_DAYS * 86400:
                continue
            try:
                with FileLock(self.root / "locks" / folder.name.removeprefix(".building-"), timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                pass  # somebody is at it


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an ``OSError`` (a full disk above all) the path it happened at, and what stands."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            message = f"{os.strerror(error.errno)}; what is already in the cache stands, free some space and run again"
            raise OSError(error.errno, message, str(path)) from error
        raise


def _is_whole(folder: Path, layout: Layout) -> bool:
    """Whether the file has the length and the header its layout asks for."""
    try:
        with (folder / "features.npy").open("rb") as file:
            end = sum(layout.extent(layout.blocks - 1))
            return file.read(len(layout.header)) == layout.header and os.fstat(file.fileno()).st_size == end
    except FileNotFoundError:
        return False


def _good_blocks(features: Path, layout: Layout, checksums: Mapping[int, str]) -> list[int]:
    if not features.exists():
        return []
    return [
        index
        for index in range(layout.blocks)
        if index in checksums and hashlib.sha256(_read_block(features, layout, index)).hexdigest() == checksums[index]
    ]


def _read_block(features: Path, layout: Layout, index: int) -> bytes:
    offset, length = layout.extent(index)
    with features.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(length)


def _read_entry(folder: Path) -> dict[str, Any] | None:
    """The entry's description, or None when it is missing or not what was written."""
    try:
        entry = json.loads((folder / "entry.json").read_bytes())
        body: dict[str, Any] = entry["body"]
        return body if entry["sha256"] == digest(body) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def digest(body: Any) -> str:
    """A hash of anything JSON can say: the key of what an entry is made of, the checksum of its description."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _write_at(descriptor: int, offset: int, data: memoryview) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    _write_all(descriptor, data)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    """A short write (a disk filling up) is gone on with, until the operating system says what is wrong."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
