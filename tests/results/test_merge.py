import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from bob.cli import app
from results.conflicts import conflicts, two_answers
from results.inspection import inspect
from results.merging import merge
from results.store import Store


def contents(root: Path) -> dict[str, bytes]:
    """All files but temporary ones, which `bob fsck` counts and removes."""
    files = (path for path in root.rglob("[!.]*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def answered(record: Any, value: float, **changes: Any) -> Any:
    """The same key with another number."""
    row = record.scores[0].model_copy(update={"value": value})
    return record.model_copy(update={"scores": [row], **changes})


def test_what_one_holds_the_other_gets_and_the_source_stays(tmp_path: Path, make: Any) -> None:
    one, other, log = Store(tmp_path / "one"), Store(tmp_path / "other"), tmp_path / "log"
    log.write_text("a log")
    table = pa.table({"item": ["a", "b"]})
    record, common, failed = make("new"), make("common"), make("broken", failed=True)
    one.commit(record, table, {"logs/log.txt": log})
    one.commit(common)
    other.commit(common)
    one.fail(failed)
    (one.root / "writing" / "left").mkdir(parents=True)
    before = contents(one.root)
    assert merge(one.root, other).counts == {"added": 1, "there already": 1, "failures": 1}
    assert contents(one.root) == before
    assert (one.root / "writing" / "left").exists(), "not even cleaned"
    assert [each.cell.backbone for each in other.records()] == [each.cell.backbone for each in one.records()]
    assert other.outputs(record.key).equals(table)
    assert {name: data for name, data in contents(one.root).items() if record.key in name} == {
        name: data for name, data in contents(other.root).items() if record.key in name
    }, "byte for byte"
    assert other.failures() == one.failures()
    assert inspect(other.root).faults == []
    whole = contents(other.root)
    assert merge(one.root, other).counts == {"there already": 2, "failures there already": 1}
    assert contents(other.root) == whole


def test_of_two_answers_both_are_kept_and_told(tmp_path: Path, make: Any) -> None:
    target, record = Store(tmp_path / "target"), make(value=0.5)
    target.commit(record)
    answers = [0.5, 0.5 + 1e-15, 0.6, 0.6, 0.7, None]
    for number, value in enumerate(answers):
        source = Store(tmp_path / f"{number}")
        source.commit(answered(record, value, warnings=[f"{number}"]), pa.table({"number": [number]}))
        merge(source.root, target)
    assert [each.scores[0].value for each in target.records()] == [0.5]
    kept = [folder for _, folder in conflicts(target.root)]
    assert len(kept) == 3
    lines = two_answers(target.root)
    assert all(line.startswith("two answers (timm:one, retrieval digits, seed 0): mAP 0.5 in cells/") for line in lines)
    assert sorted(line.split(", mAP ")[1].split()[0] for line in lines) == ["0.6", "0.7", "None"]
    found = inspect(target.root)
    assert (found.counts["second answers"], found.counts["files"], found.faults) == (3, 3, [])
    again = Store(tmp_path / "again")
    merge(target.root, again)
    assert contents(again.root) == contents(target.root), "second answers are answers too"
    (kept[0] / "outputs.parquet").write_bytes(b"")
    assert [fault.path for fault in inspect(target.root).faults] == [kept[0]]


def test_what_is_damaged_or_of_another_release_is_left_out(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    record = make()
    one.commit(record, pa.table({"item": ["a"]}))
    one.commit(make("sound"))
    one.fail(make("broken", failed=True))
    for path in [one.root / "cells" / record.key / "outputs.parquet", *(one.root / "failures").rglob("*.json")]:
        path.write_bytes(path.read_bytes()[:-1])
    before = contents(one.root)
    merged = merge(one.root, other)
    assert merged.counts == {"added": 1}
    assert ["outputs.parquet is not" in each.why for each in merged.left_out] == [True, False]
    assert contents(one.root) == before
    monkeypatch.setattr("results.record.READ_VERSIONS", (5,))
    assert {"schema 4" in each.why for each in merge(one.root, Store(tmp_path / "third")).left_out} == {True, False}


def test_a_damaged_record_of_the_target_is_mended(tmp_path: Path, make: Any) -> None:
    one, other, record = Store(tmp_path / "one"), Store(tmp_path / "other"), make()
    one.commit(record)
    merge(one.root, other)
    (other.root / "cells" / record.key / "record.json").write_bytes(b"{")
    with pytest.warns(match="moved to"):
        assert merge(one.root, other).counts == {"added": 1}
    assert other.records() == one.records()


def test_changed_while_it_is_copied_it_is_refused(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, record = Store(tmp_path / "one"), Store(tmp_path / "other"), make()
    one.commit(record, pa.table({"item": ["a"]}))
    get = Store.get

    def changed(store: Store, key: str) -> Any:
        (one.root / "cells" / record.key / "outputs.parquet").write_bytes(b"other")
        return get(store, key)

    monkeypatch.setattr(Store, "get", changed)
    merged = merge(one.root, other)
    assert ["changed while" in each.why for each in merged.left_out] == [True]
    assert not list((other.root / "writing").iterdir())
    assert other.done_keys() == set()


def test_what_was_forgiven_stays_so(tmp_path: Path, make: Any) -> None:
    one, other, failed = Store(tmp_path / "one"), Store(tmp_path / "other"), make(failed=True)
    one.fail(failed)
    merge(one.root, other)
    other.forgive(failed.key)
    merge(one.root, other)
    assert other.failures() == []


def test_killed_at_any_moment_it_is_run_again(tmp_path: Path, make: Any) -> None:
    """kill -9 in the middle: what is there is whole, and a second run gives what an uninterrupted one gives."""
    source, whole = Store(tmp_path / "source"), Store(tmp_path / "whole")
    for seed in range(8):
        source.commit(make(seed=seed), pa.table({"item": [f"{i}" for i in range(100)]}))
        source.fail(make("broken", seed=seed, failed=True))
        if seed % 3 == 0:
            whole.commit(answered(make(seed=seed), 0.9))
    shutil.copytree(whole.root, tmp_path / "begun")
    start = time.monotonic()
    merge(source.root, whole)
    took, chance, midway = time.monotonic() - start, random.Random(0), 0
    for attempt in range(6):
        target = tmp_path / f"target{attempt}"
        shutil.copytree(tmp_path / "begun", target)
        pid = os.fork()
        if pid == 0:
            merge(source.root, Store(target))
            os._exit(0)
        time.sleep(chance.uniform(0, took))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert inspect(target).faults == []
        midway += 3 < len(Store(target).done_keys()) < 8
        merge(source.root, Store(target))
        assert contents(target) == contents(whole.root)
    assert midway, "none was killed in the middle"


@pytest.mark.parametrize("name", ["../../outside", "<script>", "=1+1", "two\nlines", "\u202egnp.exe", "x" * 10_000])
def test_hostile_names_are_text(tmp_path: Path, make: Any, name: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    Store(source).commit(make(name))
    Store(target).commit(answered(make(name), 0.9))
    told = CliRunner().invoke(app, ["merge", str(source), "--store", str(target)])
    assert told.exit_code == 0
    assert [line[:11] for line in told.output.splitlines()[1:]] == ["two answers"]
    assert "\u202e" not in told.output
    board = CliRunner().invoke(app, ["leaderboard", "--store", str(target)]).output
    assert [line[:13] for line in board.splitlines() if "two answers" in line] == ["- two answers"]
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_a_folder_that_is_no_key_is_not_taken(tmp_path: Path, make: Any) -> None:
    source, record = Store(tmp_path / "source"), make()
    source.commit(record)
    shutil.copytree(source.root / "cells" / record.key, source.root / "cells" / "notes")
    assert merge(source.root, Store(tmp_path / "target")).counts == {"added": 1}


def test_the_command_names_mistakes(tmp_path: Path, make: Any) -> None:
    Store(tmp_path / "store").commit(make())
    ask = ["merge", "--store", str(tmp_path / "store")]
    itself = CliRunner().invoke(app, [*ask, str(tmp_path / "store" / ".." / "store")])
    assert (itself.exit_code, "the target itself" in itself.output) == (2, True)
    nothing = CliRunner().invoke(app, [*ask, str(tmp_path / "none")])
    assert (nothing.exit_code, "is no store" in nothing.output) == (2, True)
    (tmp_path / "source" / "cells" / ("a" * 32)).mkdir(parents=True)
    damaged = CliRunner().invoke(app, [*ask, str(tmp_path / "source")])
    assert (damaged.exit_code, "record.json is missing" in damaged.output) == (1, True)
