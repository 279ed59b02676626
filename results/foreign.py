"""Numbers of others: published tables, kept beside the records and never mixed with them.

STORE/foreign/DIGEST.json    one table as it was imported; named by the hash of its figures

There is nothing per item behind them and nobody knows their protocol: they are in no rank, mean or test.
"""

import csv
import hashlib
import io
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from results.record import DamageError
from results.shared import for_the_group
from results.unwritable import unwritable

FOREIGN = "foreign"
NEEDED = ("backbone", "metric", "value", "source")
"""Columns of a table, beside its setting: ``setting``, or ``task`` and ``dataset``."""

MOST = 20
"""Mistakes told of one file."""


class Figure(BaseModel):
    """A number and where it is from. ``value`` is in whatever unit its source has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    setting: str
    metric: str
    value: float
    source: str


class ForeignTable(BaseModel):
    """One file of figures; ``imported`` is UTC, ISO 8601."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    imported: str
    figures: list[Figure]
    schema_version: Literal[1] = 1

    def digest(self) -> str:
        """Of the figures alone: the same table is the same one, under whatever name and whenever it came."""
        figures = json.dumps([figure.model_dump() for figure in self.figures], sort_keys=True)
        return hashlib.sha256(figures.encode()).hexdigest()[:32]


class TableError(ValueError):
    """What is wrong with a file of figures, a line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def read_csv(path: Path) -> ForeignTable:
    """The figures of a CSV file with a head. Raises ``TableError`` with all that is wrong, ``OSError``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise TableError([f"{path}: no text in UTF-8"]) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    head = set(reader.fieldnames or [])
    missing = [name for name in NEEDED if name not in head]
    if "setting" not in head and not {"task", "dataset"} <= head:
        missing.append("setting (or task and dataset)")
    if missing:
        raise TableError([f"{path}: no column {name}" for name in missing])
    mistakes, figures = list[str](), dict[tuple[str, ...], Figure]()
    for row in _rows(path, reader):
        where = f"{path}, line {reader.line_num}"
        try:
            figure = _figure(row)
        except ValueError as error:
            mistakes.append(f"{where}: {error}")
            continue
        name = (figure.backbone, figure.setting, figure.metric, figure.source)
        if figures.setdefault(name, figure).value != figure.value:
            mistakes.append(f"{where}: {figure.backbone!r:.80} has another value above, {figures[name].value}")
    if not figures and not mistakes:
        mistakes = [f"{path}: no figures in it"]
    if mistakes:
        raise TableError([*mistakes[:MOST], *([f"and {len(mistakes) - MOST} more"] if len(mistakes) > MOST else [])])
    return ForeignTable(
        file=path.name, imported=datetime.now(UTC).isoformat(timespec="seconds"), figures=list(figures.values())
    )


def keep(table: ForeignTable, store: Path) -> bool:
    """Into the store, whole or not at all; False when it is there already. Raises ``OSError`` naming the path."""
    target = store / FOREIGN / f"{table.digest()}.json"
    if target.exists():
        return False
    fresh = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    with for_the_group(store):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(table.model_dump_json() + "\n", encoding="utf-8")
            os.replace(fresh, target)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise unwritable(error, target) from error
    return True


def read_table(path: Path) -> ForeignTable:
    """A table of the store. Raises ``DamageError`` where its figures are not those it is named by."""
    try:
        table = ForeignTable.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DamageError(f"not whole: {error.error_count()} fields are not what a table has") from None
    if table.digest() != path.stem:
        raise DamageError("its figures were changed after they were imported")
    return table


def foreign_tables(store: Path) -> Iterator[ForeignTable]:
    """All that are whole, by digest; ``bob fsck`` names the others."""
    for path in sorted((store / FOREIGN).glob("[!.]*.json")):
        try:
            yield read_table(path)
        except (DamageError, OSError):
            continue


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[Mapping[str, Any]]:
    try:
        yield from reader
    except csv.Error as error:
        raise TableError([f"{path}, after line {reader.line_num}: {error}"]) from None


def _figure(row: Mapping[str, Any]) -> Figure:
    said = {name: (row.get(name) or "").strip() for name in (*NEEDED, "setting", "task", "dataset")}
    said["setting"] = said["setting"] or f"{said['task']} {said['dataset']}".strip()
    if empty := [name for name in (*NEEDED, "setting") if not said[name]]:
        raise ValueError(f"no {' and no '.join(empty)}")
    try:
        value = float(said["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{said['value']!r:.40} is no number")
    return Figure(**{name: said[name] for name in ("backbone", "setting", "metric", "source")}, value=value)
