"""A short line of every record, kept in one file: what is asked of 100,000 records at once without reading them.

STORE/index.jsonl    appended to by whoever reads a record that is not in it; may be deleted at any time
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

from results.record import Cell
from results.store import RECORD

INDEX = "index.jsonl"


class Line(NamedTuple):
    """What a record says in short. ``gpus`` tells whether its machine had any; ``created`` is UTC, ISO 8601."""

    key: str
    backbone: str
    setting: str
    seed: int
    seconds: float
    gpus: bool
    created: str


def short_lines(store: Path, keys: Iterable[str], budget_s: float) -> dict[str, Line]:
    """A line for each record of these keys, the first of them first: those in the index, and what can be read in time.

    Records are taken at their word here: nothing is verified, and one that cannot be read has no line.
    """
    wanted = list(keys)
    known = _read(store / INDEX)
    deadline = time.monotonic() + budget_s
    fresh: list[Line] = []
    for key in wanted:
        if key in known:
            continue
        if time.monotonic() > deadline:
            break
        if (line := _line_of(store / "cells" / key / RECORD)) is not None:
            fresh.append(line)
    _append(store / INDEX, fresh)
    known.update((line.key, line) for line in fresh)
    return {key: known[key] for key in wanted if key in known}


def _read(index: Path) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    try:
        text = index.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return lines
    for written in text.splitlines():
        try:
            key, backbone, setting, *rest = json.loads(written)
            lines[key] = Line(key, intern(backbone), intern(setting), *rest)
        except (ValueError, TypeError):  # torn by a crash, or by two that wrote at once where appends are not whole
            continue
    return lines


def _append(index: Path, lines: list[Line]) -> None:
    """Best effort: it is a convenience, and the store may be somebody else's or full."""
    if not lines:
        return
    body = "".join(f"{json.dumps(line)}\n" for line in lines)
    try:
        with index.open("ab") as file:
            file.write(b"\n" + body.encode())  # should the last one have been torn, this begins on a line of its own
    except OSError:
        return


def _line_of(record: Path) -> Line | None:
    try:
        body: dict[str, Any] = json.loads(record.read_bytes())
        cell = Cell(**body["cell"])
        seconds = (body["cost"] or {}).get("seconds", 0.0)
        gpus = body["provenance"]["hardware"].get("gpus", "none") != "none"
        created = body["provenance"]["created"]
        return Line(body["key"], cell.backbone, cell.setting(), cell.seed, float(seconds), gpus, created)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
