"""A cell's working folder: outlives its process, belongs to whoever holds the claim, goes once the cell is done."""

import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from results.record import FileFacts, Record
from results.store import DamagedRecordWarning, Store


def work_on(store: Store, record: Record) -> Path:
    """A working folder with a checkpoint and a log."""
    folder = store.working_folder(record.key, record.cell, record.identity.precision)
    for name in ("checkpoints/1/model", "logs/metrics.csv", "trial/logs/curves.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(name)
    return folder


def kept(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in ("logs/metrics.csv", "trial/logs/curves.png")}


def test_it_is_not_made_and_survives_every_opening(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    assert not store.working_folder(record.key, record.cell, "float32").exists()
    folder = work_on(store, record)
    store.fail(make(failed=True, key=record.key))
    assert (Store(tmp_path).working_folder(record.key, record.cell, "float32") / "checkpoints/1/model").exists()
    assert folder.parent == tmp_path / "work"


def test_commit_keeps_its_files_and_removes_the_rest(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    other = work_on(store, make("other"))
    folder = work_on(store, record)
    assert store.commit(record, files=kept(folder))
    assert not folder.exists()
    assert other.exists()
    found = store.get(record.key)
    assert found is not None
    assert found.files == {
        name: FileFacts(sha256=hashlib.sha256(name.encode()).hexdigest(), size=len(name)) for name in kept(folder)
    }
    cell = tmp_path / "cells" / record.key
    files = {path.relative_to(cell).as_posix() for path in cell.rglob("*") if path.is_file()}
    assert files == {"record.json", *kept(folder)}


def test_a_changed_log_is_damage(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    store.commit(record, files=kept(work_on(store, record)))
    (tmp_path / "cells" / record.key / "logs/metrics.csv").write_text("logs/metrics.cs_")
    with pytest.warns(DamagedRecordWarning, match="changed after"):
        assert store.get(record.key) is None


def test_older_versions_of_the_question_go_but_not_those_somebody_works_on(tmp_path: Path, make: Any) -> None:
    store, now = Store(tmp_path), make(value=0.5)
    stale, held = make(value=0.4), make(value=0.3)
    half = now.identity.model_copy(update={"precision": "bfloat16"})
    folders = [work_on(store, each) for each in (stale, held, make(value=0.2, identity=half))]
    with Store(tmp_path).claim(held.key):
        store.commit(now)
    assert [folder.exists() for folder in folders] == [False, True, True]


def test_died_between_the_commit_and_the_removal(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, record = Store(tmp_path), make()
    folder = work_on(store, record)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_end_work", lambda self, record: None)
        store.commit(record, files=kept(folder))
    assert folder.exists()
    with store.claim(record.key):
        Store(tmp_path)
        assert folder.exists(), "its holder is at it"
    Store(tmp_path)
    assert not folder.exists()


def test_what_cannot_be_written_leaves_the_work(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    folder = work_on(store, record)
    with pytest.raises(OSError, match="nothing was recorded"):
        store.commit(record, files={"logs/gone": folder / "gone"})
    assert {path.name for path in folder.iterdir()} == {"checkpoints", "logs", "trial"}
    assert store.get(record.key) is None
    assert not list((tmp_path / "writing").iterdir())


def test_strangers_in_the_folder_stay(tmp_path: Path, make: Any) -> None:
    (tmp_path / "work" / "notes").mkdir(parents=True)
    Store(tmp_path).commit(make())
    assert (tmp_path / "work" / "notes").exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "logs/../../outside"])
def test_files_are_inside_the_records_folder(make: Any, name: str) -> None:
    with pytest.raises(ValidationError, match="inside its folder"):
        make(files={name: FileFacts(sha256="0", size=0)})


def test_killed_at_any_moment_it_is_either_to_be_gone_on_with_or_done(tmp_path: Path, make: Any) -> None:
    """kill -9 inside commit: the logs are in the working folder, or in the record; never in neither."""
    chance, outcomes, attempt, patience = random.Random(0), set(), 0, 0.005
    while attempt < 40 or (len(outcomes) < 2 and attempt < 400):
        attempt += 1
        record = make(seed=attempt)
        folder = work_on(Store(tmp_path), record)
        (folder / "logs/big").write_bytes(os.urandom(1 << 20))
        pid = os.fork()
        if pid == 0:
            Store(tmp_path).commit(record, files={**kept(folder), "logs/big": folder / "logs/big"})
            os._exit(0)
        time.sleep(chance.uniform(0, patience))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        store = Store(tmp_path)
        done = store.get(record.key) is not None
        assert done != (folder / "logs/big").exists()
        outcomes.add(done)
        patience *= 0.8 if done else 1.25  # about half of them are killed early, however fast the disk is
        if not done:
            assert store.commit(record, files=kept(folder))
        assert not folder.exists()
    assert outcomes == {True, False}
