"""The roll of a sweep: every cell of a plan as it was launched, so that workers and watchers need not resolve it anew.

STORE/sweeps/NAME/roll.json     backbones, questions and cells; replaced whole when the plan is launched again
"""

import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from backbones.plugins import unknown

ROLL = "roll.json"
FORM = 1
"""Of the file; another release's is refused, for its workers would misread it."""


class Listed(NamedTuple):
    """A cell in few bytes, for there may be 100,000: its key, its backbone and question by number, its seed."""

    key: str
    backbone: int
    question: int
    seed: int


@dataclass(frozen=True)
class ListedQuestion:
    """``entry`` is the plan's own, with one choice of datasets; ``setting`` is its column, ``task`` its task's name."""

    task: str
    setting: str
    entry: dict[str, Any]


@dataclass(frozen=True)
class Roll:
    """A sweep as it was launched. ``backbones`` are names to load; ``options`` those of ``bob run`` that workers get.

    ``code`` is the digest of the code it was submitted with, ``plan`` the path of the plan (for relative paths in it).
    """

    name: str
    plan: str
    created: str
    code: str
    options: dict[str, Any]
    backbones: tuple[str, ...]
    questions: tuple[ListedQuestion, ...]
    cells: tuple[Listed, ...]
    racing: bool = False

    def write(self, folder: Path) -> None:
        """Replace the roll in a sweep's folder, whole or not at all. Raises ``OSError`` naming the path."""
        folder.mkdir(parents=True, exist_ok=True)
        questions = [asdict(each) for each in self.questions]  # of the cells a deep copy would take seconds
        body = {**vars(self), "questions": questions, "form": FORM}
        temporary = folder / f".{ROLL}-{secrets.token_hex(8)}"
        try:
            with temporary.open("x", encoding="utf-8") as file:
                json.dump(body, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / ROLL)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def chosen(self, keys: Sequence[str]) -> Iterator[Listed]:
        """The cells of these keys, in their order. Raises ``KeyError`` for one that is not on the roll."""
        by_key = {cell.key: cell for cell in self.cells}
        return (by_key[key] for key in keys)


def read_roll(folder: Path) -> Roll:
    """The roll of a sweep's folder. Raises ``ValueError`` for one of another release, ``OSError``."""
    body = json.loads((folder / ROLL).read_bytes())
    if (form := body.pop("form", None)) != FORM:
        raise ValueError(f"{folder / ROLL} has form {form}, this release reads {FORM}: use the one that launched it")
    return Roll(
        **{
            **body,
            "backbones": tuple(body["backbones"]),
            "questions": tuple(ListedQuestion(**each) for each in body["questions"]),
            "cells": tuple(map(Listed._make, body["cells"])),
        }
    )


def sweep_folder(store: Path, name: str) -> Path:
    """Where a sweep is kept. Raises ``ValueError`` for a name that is none."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"{name!r:.80} is no name of a sweep: letters, digits, '-', '_' and '.'")
    return store / "sweeps" / name


def known_sweeps(store: Path) -> list[str]:
    """Names of the sweeps of a store."""
    folder = store / "sweeps"
    return sorted(each.name for each in folder.iterdir() if (each / ROLL).exists()) if folder.is_dir() else []


def find_sweep(store: Path, name: str | None) -> Path:
    """The folder of a sweep; without a name, of the only or newest one. Raises ``ValueError`` with those there are."""
    names = known_sweeps(store)
    if not names:
        raise ValueError(f"no sweep in {store}: launch one with bob run PLAN --on gpus or --on slurm")
    if name is None:
        return max((sweep_folder(store, each) for each in names), key=lambda each: (each / ROLL).stat().st_mtime)
    if name not in names:
        raise unknown("sweep", name, names)
    return sweep_folder(store, name)
