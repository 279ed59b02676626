"""The store: a folder a cell, whole or absent; claims that end with their holder; failures kept apart.

cells/KEY/record.json, outputs.parquet    what is done; other files it kept (logs) beside them
failures/KEY/TIME-PID.json                attempts that failed
forgiven/KEY-TIME/                        failures that count no longer
attempts/KEY/000001.json                  who works or worked on a cell, and how that ended, unless well at once
claims/KEY.TOKEN.json                     who works now: results/claims.py (KEY.lock is an older release's, and idle)
work/KEY-QUESTION/                        what the holder of a claim leaves for the next one to go on from
writing/NAME/                             on its way into cells/; its record file is locked by the process that writes
conflicts/KEY-DIGEST/                     answers to a key in cells/ that gave other scores, from merged stores
quarantine/                               found damaged: kept to look at, never used

Of a root that its group may write (mode g+ws is best), all is for the group: any user goes on with another's work.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from results.attempts import Attempt, Cause
from results.claims import Claim, Claims
from results.quarantine import moving_away
from results.record import Cell, DamageError, FileFacts, Record, SchemaError
from results.shared import for_the_group
from results.unwritable import unwritable

if TYPE_CHECKING:
    import pyarrow as pa

RECORD, OUTPUTS = "record.json", "outputs.parquet"
CONFLICTS = "conflicts"

_KEY = re.compile(r"[0-9a-f]{8,64}")
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_WORKING_FOLDER = re.compile(r"([0-9a-f]{8,64})-([0-9a-f]{16})")


class DamagedRecordWarning(UserWarning):
    """A damaged record was moved to quarantine."""


class Store:
    """Records in a folder that any number of processes may read and write at once, on any number of machines."""

    def __init__(self, root: Path, claims: Claims | None = None) -> None:
        self.root = Path(root)
        self._claims = claims or Claims(self.root)
        self._writing, self._work = self.root / "writing", self.root / "work"
        with for_the_group(self.root):
            self._clean()

    def commit(
        self, record: Record, outputs: "pa.Table | None" = None, files: Mapping[str, Path] | None = None
    ) -> bool:
        """Add a finished record; False (and nothing changed) when its key is there already.

        ``files`` are copied beside it under their names (``logs/metrics.csv``). Its working folder goes once it is in
        the store, and so do those of older versions of its question that nobody works on.
        Raises ``OSError`` naming the path when it cannot be written; then nothing of it is in the store.
        """
        if not self._put(self._cell(record.key), record, outputs, files or {}):
            return False
        with for_the_group(self.root):
            self._end_work(record)
        return True

    def commit_beside(self, record: Record, files: Mapping[str, Path]) -> bool:
        """Keep another answer to a key that is there; False when one of the same scores is kept already."""
        return self._put(self.root / CONFLICTS / conflict_name(record), record, None, files)

    def _put(self, target: Path, record: Record, outputs: "pa.Table | None", files: Mapping[str, Path]) -> bool:
        if target.exists():
            return False
        with for_the_group(self.root):
            try:
                self._write_cell(target, record, outputs, files)
            except OSError as error:
                if target.exists():  # renaming onto a folder that is not empty: another was first
                    return False
                raise unwritable(error, target) from error
        return True

    def _write_cell(self, target: Path, record: Record, outputs: "pa.Table | None", files: Mapping[str, Path]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._begin() as (folder, file):
            facts = {} if outputs is None else {OUTPUTS: _write_table(folder / OUTPUTS, outputs)}
            facts |= {name: _copy(path, folder, name) for name, path in files.items()}
            if record.files and record.files != facts:  # those of another store, where it was verified
                raise DamageError(f"files of {record.key} were changed while they were copied")
            _write_to(file, record.model_copy(update={"files": facts}).to_json().encode())
            # The files are on disk; so must be their names, before the folder's own name says that they are whole.
            for inside in {parent for name in (RECORD, *facts) for parent in PurePosixPath(name).parents}:
                _sync(folder / inside)
            os.rename(folder, target)
            _sync(target.parent)

    def fail(self, record: Record, name: str = "") -> None:
        """Keep a failed attempt. It does not stand in the way of the next. Raises ``OSError`` like :meth:`commit`.

        ``name`` is that of its file in another store, that it was in; it must be free here.
        """
        folder = self.root / "failures" / _checked(record.key)
        name = name or f"{time.time_ns()}-{os.getpid()}.json"
        with for_the_group(self.root):
            try:
                try:
                    _write_failure(folder, name, record)
                except FileNotFoundError:  # what failed before was forgiven just now, and its folder moved away
                    _write_failure(folder, name, record)
            except OSError as error:
                raise unwritable(error, folder) from error

    def forgive(self, key: str) -> None:
        """What failed so far counts no longer, neither as a failure nor towards a limit. Its traces are kept."""
        with for_the_group(self.root):
            self._claims.forgive(_checked(key))
            (self.root / "forgiven").mkdir(exist_ok=True)
            with suppress(FileNotFoundError):
                os.rename(self.root / "failures" / key, self.root / "forgiven" / f"{key}-{time.time_ns()}")

    def get(self, key: str) -> Record | None:
        """The record of a key, or None. A damaged one is moved to quarantine with a warning, and is None.

        Raises ``SchemaError`` for the record of another release, ``OSError`` where it cannot be read.
        """
        try:
            return self._read(key)
        except DamageError as damage:
            return self._quarantine(key, damage)

    def _read(self, key: str) -> Record | None:
        folder = self._cell(key)
        try:
            return verified(folder, key) if folder.exists() else None
        except DamageError:
            if not folder.exists():  # moved to quarantine by another process meanwhile
                return None
            raise

    def records(self) -> list[Record]:
        """Everything done, by key."""
        found = (self.get(folder.name) for folder in _listing(self.root / "cells") if _KEY.fullmatch(folder.name))
        return [record for record in found if record is not None]

    def failures(self, keys: Collection[str] | None = None) -> list[Record]:
        """The latest failed attempt of each key (None: of all) that has no finished record and was not forgiven."""
        failed = self.failed_keys() if keys is None or len(keys) else set[str]()
        asked = failed if keys is None else failed.intersection(keys)
        return [latest for key in sorted(asked) for latest in _latest_attempt(self.root / "failures" / key)]

    def done_keys(self) -> set[str]:
        """Keys that have a record, by the names of their folders alone."""
        return keys_in(self.root / "cells")

    def failed_keys(self) -> set[str]:
        """Keys that failed, were not forgiven and have no record, by the names of their folders alone."""
        return keys_in(self.root / "failures") - self.done_keys()

    def outputs(self, key: str) -> "pa.Table":
        """What happened to each item. Raises ``FileNotFoundError`` where there are none, ``DamageError`` if damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self._cell(key) / OUTPUTS
        existed, record = file.exists(), self.get(key)
        if record is None and existed:
            raise DamageError(f"{file} or its record was changed after it was written; run the cell again")
        if record is None or OUTPUTS not in record.files:
            raise FileNotFoundError(f"no outputs of cell {key} in {self.root}")
        return pq.read_table(pa.BufferReader(file.read_bytes()))

    @contextmanager
    def claim(self, key: str, reached: str = "") -> Iterator[Claim | None]:
        """The right to work on a cell, None where another has it who lives; see :class:`results.claims.Claims`.

        Raises ``OSError`` naming the path where it cannot be written.
        """
        with for_the_group(self.root), self._claims.claim(_checked(key), reached) as claim:
            yield claim

    def attempts(self, key: str) -> list[Attempt]:
        """All attempts at a cell that left a trace, oldest first. Only the last can be without an end."""
        return self._claims.attempts(_checked(key))

    def attempted_keys(self) -> set[str]:
        """Keys whose attempts left a trace, by the names of their folders alone."""
        return keys_in(self.root / "attempts")

    def running(self) -> list[tuple[Attempt, float]]:
        """Attempts that nobody has ended, and the seconds since each was heard of."""
        return self._claims.running()

    def end_attempts(
        self,
        node: str,
        pid: int,
        cause: Cause,
        message: str = "",
        exit_code: int | None = None,
        tail: str = "",
        machine: str | None = None,
    ) -> list[str]:
        """End what a process that died was working on; see :meth:`results.claims.Claims.end_attempts`."""
        with for_the_group(self.root):
            return self._claims.end_attempts(node, pid, cause, message, exit_code, tail, machine)

    def working_folder(self, key: str, cell: Cell, precision: str) -> Path:
        """Where the holder of a cell's claim keeps what it needs to go on after a crash. It is not made here.

        It outlives its process, also one that fails, and is the next holder's as it is; :meth:`commit` removes it.
        """
        return self._work / f"{_checked(key)}-{_question(cell, precision)}"

    def _cell(self, key: str) -> Path:
        return self.root / "cells" / _checked(key)

    def _quarantine(self, key: str, damage: DamageError) -> Record | None:
        """Move a damaged record away; under a lock and looked at again, for another process may have mended it."""
        with moving_away(self.root, key) as target:
            try:
                return self._read(key)
            except DamageError:
                os.rename(self._cell(key), target)
        message = f"damaged record {key}: {damage}; moved to {target}, it will be computed again"
        warnings.warn(message, DamagedRecordWarning, stacklevel=4)
        return None

    @contextmanager
    def _begin(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A folder of one's own, gone at the end, and in it the record's file, locked: its writer lives.

        The kernel frees the lock of a process that dies. Process ids would not do: containers that share a store
        may share a host name too, and each counts its processes for itself.
        """
        file = None
        while file is None:
            folder = self._writing / secrets.token_hex(16)
            folder.mkdir(parents=True)
            file = _locked_file(folder / RECORD)
        with file:
            try:
                yield folder, file
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _clean(self) -> None:
        """Remove what processes that are gone were writing. A store that can only be read stays as it is."""
        for folder in _listing(self._writing):
            with suppress(OSError):
                _remove_unless_written(folder)
        for key, _, folder in self._working_folders():
            if self._cell(key).exists():  # its process died between the commit and this
                self._remove_unclaimed(key, folder)
        with suppress(OSError):
            self._claims.clean(lambda key: self._cell(key).exists())

    def _end_work(self, record: Record) -> None:
        """Remove the working folder of a record, and what was left of the question by other weights, data, protocols.

        Another precision is another answer that may be wanted as well.
        """
        answered = _question(record.cell, record.identity.precision)
        for key, question, folder in self._working_folders():
            if key == record.key:
                shutil.rmtree(folder, ignore_errors=True)
            elif question == answered:
                self._remove_unclaimed(key, folder)

    def _remove_unclaimed(self, key: str, folder: Path) -> None:
        with suppress(OSError), self.claim(key) as claim:
            if claim is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _working_folders(self) -> list[tuple[str, str, Path]]:
        """Key, question and folder of each."""
        named = ((_WORKING_FOLDER.fullmatch(folder.name), folder) for folder in _listing(self._work))
        return [(match[1], match[2], folder) for match, folder in named if match]


def verified(folder: Path, key: str) -> Record:
    """The record in a cell's folder, it and every file of it held against their hashes. Nothing is changed.

    Raises ``DamageError`` with all that is damaged, ``SchemaError`` for the record of another release, ``OSError``
    where it cannot be read.
    """
    try:
        record = Record.from_json((folder / RECORD).read_bytes())
    except SchemaError as error:
        raise SchemaError(f"{folder / RECORD}: {error}") from None
    except _NO_FILE as error:
        raise DamageError(f"{error.filename} is missing") from None
    if record.key != key:
        raise DamageError(f"it holds the record of {record.key}")
    if damaged := [why for name, facts in record.files.items() if (why := _damage(folder / name, facts))]:
        raise DamageError("; ".join(damaged))
    return record


def conflict_name(record: Record) -> str:
    """Under which an answer that is not the first to its key is kept: the same for the same scores."""
    scores = json.dumps([row.model_dump() for row in record.scores], sort_keys=True)
    return f"{_checked(record.key)}-{hashlib.sha256(scores.encode()).hexdigest()[:16]}"


def _checked(key: str) -> str:
    """Keys are the only names that become paths, and they are hexadecimal."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r:.80} is no key: keys are 8 to 64 hexadecimal digits")
    return key


def _question(cell: Cell, precision: str) -> str:
    """What two versions of a cell have in common: keys of other weights or data differ, this does not."""
    return hashlib.sha256(f"{cell.address()} {precision}".encode()).hexdigest()[:16]


def _locked_file(path: Path) -> BinaryIO | None:
    """A new file, locked; None where somebody cleaning came between its folder, the file and the lock."""
    try:
        file = path.open("xb")
    except FileNotFoundError:
        return None
    if _lock(file) and path.exists():
        return file
    file.close()
    return None


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_unless_written(folder: Path) -> None:
    names = [path.name for path in _listing(folder)]
    if not names:
        folder.rmdir()  # a living writer that has only just made it makes another
    elif RECORD not in names:  # writers begin with it, so this was half removed
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with (folder / RECORD).open("r+b") as file:  # not only to read: locks over NFS ask for that
            if _lock(file):
                shutil.rmtree(folder, ignore_errors=True)


def _write_failure(folder: Path, name: str, record: Record) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}-{secrets.token_hex(8)}"
    try:
        _write(temporary, record.to_json().encode())
        os.rename(temporary, folder / name)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync(folder)


def _write(path: Path, data: bytes) -> FileFacts:
    with path.open("xb") as file:
        return _write_to(file, data)


def _write_to(file: BinaryIO, data: bytes) -> FileFacts:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
    return FileFacts(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _copy(source: Path, folder: Path, name: str) -> FileFacts:
    """A copy, not the file itself: should the process die before the record is whole, it is still where it was."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return _write(target, source.read_bytes())


def _write_table(path: Path, table: "pa.Table") -> FileFacts:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    return _write(path, buffer.getvalue().to_pybytes())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damage(path: Path, facts: FileFacts) -> str:
    """What is wrong with a file, in words; empty where nothing is."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != facts.size:
                return f"{path.name} is not {facts.size} bytes long"
            if hashlib.file_digest(file, "sha256").hexdigest() != facts.sha256:
                return f"{path.name} was changed after it was written"
    except _NO_FILE:
        return f"{path} is missing"
    except ValueError:  # a zero byte
        return f"{path.name!r:.80} is no name of a file"
    return ""


def _latest_attempt(folder: Path) -> list[Record]:
    """The newest attempt that is whole, as a list of one or none: one torn by a crash tells nothing."""
    for path in reversed([path for path in _listing(folder) if path.suffix == ".json" and path.name[0] != "."]):
        try:
            return [Record.from_json(path.read_bytes())]
        except DamageError as error:
            warnings.warn(f"{path}: {error}; ignored", DamagedRecordWarning, stacklevel=3)
    return []


def keys_in(folder: Path) -> set[str]:
    """Names in a folder that are keys, by one listing of it."""
    try:
        return set(filter(_KEY.fullmatch, os.listdir(folder)))
    except FileNotFoundError:
        return set()


def _listing(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
