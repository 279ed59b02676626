"""Everything that a store keeps, looked at: whole, in a form this release reads, and where it belongs."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from results.attempts import Attempt
from results.certificates import FOLDER as CERTIFICATES
from results.certificates import Certificate
from results.claims import file_system_time
from results.foreign import FOREIGN, read_table
from results.leftovers import abandoned
from results.quarantine import moving_away
from results.record import DamageError, Record, SchemaError
from results.store import CONFLICTS, RECORD, conflict_name, keys_in, verified

Kind = Literal["records", "second answers", "failures", "attempts", "certificates", "foreign tables"]


class Kept(NamedTuple):
    """A file or folder of the store. ``look`` raises where something is wrong with it, else gives what it holds."""

    kind: Kind
    path: Path
    look: Callable[[Path], object]


class Fault(NamedTuple):
    """Where, of which cell in words (as far as they can still be read), why, and where it was moved, if it was."""

    path: Path
    cell: str
    why: str
    moved: Path | None = None


@dataclass
class Findings:
    """``counts`` of what was looked at by kind, and ``files``; faults; what other releases wrote; unnamed files."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    of_other_releases: list[Fault] = field(default_factory=list)
    unnamed: list[Path] = field(default_factory=list)


def inspect(store: Path, repair: bool = False, tell: Callable[[int, int], None] = lambda done, total: None) -> Findings:
    """Verify all of a store; ``tell`` hears how many of its cells are done. Nothing is changed but by ``repair``.

    That moves what is damaged into quarantine, and leaves alone what cannot be read or is in use.
    """
    findings = Findings()
    keys, names = keys_in(store / "cells"), _names(store / "cells")
    findings.unnamed += [store / "cells" / name for name in names if name not in keys]
    for kept in _everything(store):
        findings.counts[kept.kind] += 1
        try:
            held = kept.look(kept.path)
        except DamageError as damage:
            moved = _move_away(store, kept) if repair else None
            findings.faults.append(Fault(kept.path, words_at(moved or kept.path), str(damage), moved))
        except SchemaError as error:
            findings.of_other_releases.append(Fault(kept.path, "", str(error)))
        except FileNotFoundError:  # ended well, forgiven or moved by another process meanwhile
            findings.counts[kept.kind] -= 1
        except OSError as error:
            findings.faults.append(Fault(kept.path, "", f"cannot be read: {error.strerror}"))
        else:
            if isinstance(held, Record) and kept.path.is_dir():
                findings.counts["files"] += len(held.files)
                findings.unnamed += _unnamed(kept.path, held)
        if kept.kind == "records":
            tell(findings.counts["records"], len(keys))
    return findings


def _everything(store: Path) -> Iterator[Kept]:
    for key in sorted(keys_in(store / "cells")):
        yield Kept("records", store / "cells" / key, _record)
    for name in _names(store / CONFLICTS):
        yield Kept("second answers", store / CONFLICTS / name, _second_answer)
    for folder in ("failures", "forgiven"):
        for key in _names(store / folder):
            for name in _names(store / folder / key):
                yield Kept("failures", store / folder / key / name, partial(read_failure, key=key.partition("-")[0]))
    for key in _names(store / "attempts"):
        for name in _names(store / "attempts" / key):
            yield Kept("attempts", store / "attempts" / key / name, _attempt)
    for name in _names(store / CERTIFICATES):
        yield Kept("certificates", store / CERTIFICATES / name, _certificate)
    for name in _names(store / FOREIGN):
        yield Kept("foreign tables", store / FOREIGN / name, read_table)


def _record(folder: Path) -> Record:
    return verified(folder, folder.name)


def _second_answer(folder: Path) -> Record:
    record = verified(folder, folder.name.partition("-")[0])
    if conflict_name(record) != folder.name:
        raise DamageError(f"it holds the answer {conflict_name(record)}")
    return record


def read_failure(path: Path, key: str) -> Record:
    """An attempt that failed at this key. Raises as :func:`results.store.verified` does."""
    record = Record.from_json(path.read_bytes())
    if record.key != key or record.status == "done":
        raise DamageError(f"it holds the record of {record.key}, which is {record.status}")
    return record


def _attempt(path: Path) -> Attempt:
    try:
        attempt = Attempt.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DamageError(_told(error)) from None
    if (attempt.key, f"{attempt.number:06}.json") != (path.parent.name, path.name):
        raise DamageError(f"it holds attempt {attempt.number} at {attempt.key}")
    return attempt


def _certificate(path: Path) -> Certificate:
    try:
        certificate = Certificate.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DamageError(_told(error)) from None
    if certificate.subject != path.stem:
        raise DamageError(f"it is the certificate of {certificate.subject}")
    return certificate


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"not whole: {where}{': ' if where else ''}{first['msg']}"


def _move_away(store: Path, kept: Kept) -> Path | None:
    """Into quarantine, where it is still damaged and nobody is at it; None where it stays."""
    with moving_away(store, "-".join(kept.path.relative_to(store).parts)) as target:
        try:
            kept.look(kept.path)
        except DamageError:
            if kept.kind != "attempts" or abandoned(kept.path, file_system_time(store)):
                os.rename(kept.path, target)
                return target
        except (SchemaError, OSError):  # another process was at it meanwhile
            return None
    return None


def _unnamed(folder: Path, record: Record) -> Iterator[Path]:
    """Files that lie beside a record, of which it says nothing."""
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in {RECORD, *record.files}:
            yield path


def words_at(path: Path) -> str:
    """Of which cell it is, where its record can be read."""
    try:
        return Record.from_json((path / RECORD if path.is_dir() else path).read_bytes()).cell.words()
    except (OSError, ValueError):
        return ""


def _names(folder: Path) -> list[str]:
    """What lies in a folder, without temporary files."""
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
