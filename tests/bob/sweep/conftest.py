"""A sweep on disk as its launcher and workers leave it, written by hand."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bob.sweep.roll import Listed, ListedQuestion, Roll, sweep_folder
from results.attempts import Attempt
from results.store import Store

BACKBONES = ("timm:one", "timm:two")
QUESTIONS = ("retrieval", "classification.knn")


class SweepFiles:
    """``NAME`` in a store: 2 backbones, 2 questions, 2 seeds; a cell is (backbone, question, seed)."""

    def __init__(self, root: Path, make: Callable[..., Any], name: str = "mine") -> None:
        self.root, self.make, self.store = root, make, Store(root)
        self.keys = {
            (backbone, question, seed): f"{backbone}{question}{seed}".ljust(32, "a")
            for backbone in range(2)
            for question in range(2)
            for seed in range(2)
        }
        self.roll = Roll(
            name=name,
            plan="/plans/mine.yaml",
            created="2026-01-01T00:00:00+00:00",
            code="0",
            options={},
            backbones=BACKBONES,
            questions=tuple(ListedQuestion(task, f"{task} digits", {}) for task in QUESTIONS),
            cells=tuple(Listed(key, *where) for where, key in self.keys.items()),
        )
        self.folder = sweep_folder(root, name)
        self.roll.write(self.folder)

    def finish(self, where: tuple[int, int, int], **changes: Any) -> None:
        """Its record."""
        backbone, question, seed = where
        record = self.make(backbone=BACKBONES[backbone], task=QUESTIONS[question], seed=seed)
        self.store.commit(record.model_copy(update={"key": self.keys[where], **changes}))

    def attempt(self, where: tuple[int, int, int], silent_s: float = 0.0, **facts: Any) -> Attempt:
        """One more attempt; without a cause it goes on, last heard of so many seconds ago."""
        key = self.keys[where]
        folder, marks = self.root / "attempts" / key, self.root / "claims"
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir())) + 1
        stated = {"key": key, "number": number, "token": f"{number:016x}", "started": "2026-01-01T00:00:00+00:00"}
        attempt = Attempt(**{**stated, "node": "node1", "machine": "another", "pid": 7, **facts})
        path = folder / f"{number:06}.json"
        path.write_text(attempt.model_dump_json())
        if attempt.cause is None:
            marks.mkdir(exist_ok=True)
            os.link(path, marks / f"{key}.{attempt.token}.json")
            heard = path.stat().st_mtime - silent_s
            os.utime(path, (heard, heard))
        return attempt

    def end(self, where: tuple[int, int, int], cause: str, **facts: Any) -> Attempt:
        """One more attempt that ended an hour after it began."""
        return self.attempt(where, cause=cause, ended="2026-01-01T01:00:00+00:00", **facts)


@pytest.fixture
def sweep(tmp_path: Path, make: Any) -> SweepFiles:
    return SweepFiles(tmp_path / "store", make)


@pytest.fixture
def sweep_of(make: Any) -> Callable[..., SweepFiles]:
    """Makes others: a store's folder, a name."""
    return lambda root, name: SweepFiles(root, make, name)
