import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from bob.cli import app
from results.certificates import CheckRow, issue, keep
from results.inspection import inspect
from results.leftovers import clean, leftovers
from results.store import Store


def filled(root: Path, make: Any) -> tuple[Store, Any]:
    """Of everything that is kept, one; the record of a cell with outputs and a log."""
    store, record, log = Store(root), make(), root.parent / "log"
    log.write_text("step 1\n" * 20)
    store.commit(record, pa.table({"item": ["a", "b"] * 50}), {"logs/log.txt": log})
    store.fail(make("broken", failed=True))
    with store.claim("a" * 32) as claim:
        assert claim is not None
        claim.end("error", "broken")
    keep(issue("timm:one", "0", {}, {}, [CheckRow(name="eval", passed=True, seen="")]), root)
    return store, record


def everything_in(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def aged(path: Path) -> None:
    os.utime(path, (time.time() - 1000,) * 2)


def test_a_sound_store_is_counted_and_left_as_it_is(tmp_path: Path, make: Any) -> None:
    filled(tmp_path / "store", make)
    before, told = everything_in(tmp_path / "store"), list[tuple[int, int]]()
    found = inspect(tmp_path / "store", tell=lambda done, total: told.append((done, total)))
    assert found.faults == found.of_other_releases == found.unnamed == []
    assert found.counts == {"records": 1, "files": 2, "failures": 1, "attempts": 1, "certificates": 1}
    assert told == [(1, 1)]
    assert not +leftovers(tmp_path / "store")
    assert everything_in(tmp_path / "store") == before


def test_every_flipped_byte_is_found_and_named(tmp_path: Path, make: Any) -> None:
    """Of the record, the parquet, the log and the failure: hashes cover each of their bytes."""
    root = tmp_path / "store"
    _, record = filled(root, make)
    covered = [path for path in everything_in(root) if path.startswith(("cells/", "failures/"))]
    assert len(covered) == 4
    for name in covered:
        whole = (root / name).read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 60)):
            (root / name).write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
            (fault,) = inspect(root).faults
            assert fault.path == root / (f"cells/{record.key}" if name.startswith("cells") else name)
            assert name.startswith("failures") or name.endswith("record.json") or Path(name).name in fault.why
            assert name.endswith(".json") or fault.cell == "timm:one, retrieval digits, seed 0"
        (root / name).write_bytes(whole)
    assert inspect(root).faults == []


def test_repair_moves_damage_away_and_nothing_else(tmp_path: Path, make: Any) -> None:
    root = tmp_path / "store"
    _, record = filled(root, make)
    Store(root).commit(make("sound"))
    before = everything_in(root)
    (root / "cells" / record.key / "outputs.parquet").write_bytes(b"")
    (attempt,) = (root / "attempts").rglob("*.json")
    attempt.write_bytes(b"{")
    aged(attempt)
    (failure,) = (root / "failures").rglob("*.json")
    failure.unlink()
    (certificate,) = (root / "certificates").iterdir()
    certificate.write_text(certificate.read_text().replace('"weights_sha256": "0"', '"weights_sha256": "1"'))
    unread = inspect(root)
    assert [fault.moved for fault in unread.faults] == [None] * 3
    found = inspect(root, repair=True)
    assert [fault.path for fault in found.faults] == [fault.path for fault in unread.faults]
    assert all(fault.moved is not None and fault.moved.exists() for fault in found.faults)
    assert inspect(root).faults == []
    assert [each.cell.backbone for each in Store(root).records()] == ["sound"]
    kept = {name: data for name, data in everything_in(root).items() if not name.startswith("quarantine")}
    assert kept.items() <= before.items()


def test_an_attempt_in_use_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claim("a" * 32) as claim:
        assert claim is not None
        (tmp_path / "attempts" / ("a" * 32) / "000001.json").write_bytes(b"{")
        (fault,) = inspect(tmp_path, repair=True).faults
        assert fault.moved is None
        assert "not whole" in fault.why


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda cell: (cell / "outputs.parquet").unlink(), "outputs.parquet is missing"),
        (lambda cell: (cell / "record.json").unlink(), "record.json is missing"),
        (lambda cell: (cell / "record.json").write_text("[" * 100_000), "not whole"),
        (lambda cell: (cell / "record.json").write_text('{"value": NaN}'), "not whole"),
        (lambda cell: (cell / "record.json").write_bytes(b"\xff\x00"), "not whole"),
        (lambda cell: os.rename(cell, cell.with_name("0" * 32)), "it holds the record of"),
    ],
)
def test_kinds_of_damage(tmp_path: Path, make: Any, damage: Any, why: str) -> None:
    _, record = filled(tmp_path / "store", make)
    damage(tmp_path / "store" / "cells" / record.key)
    (fault,) = inspect(tmp_path / "store").faults
    assert why in fault.why


def test_what_is_no_cell_is_told_and_stays(tmp_path: Path, make: Any) -> None:
    Store(tmp_path).commit(make())
    (tmp_path / "cells" / "notes").mkdir()
    found = inspect(tmp_path, repair=True)
    assert (found.faults, found.unnamed) == ([], [tmp_path / "cells" / "notes"])


def test_every_damaged_file_of_a_cell_is_named(tmp_path: Path, make: Any) -> None:
    _, record = filled(tmp_path / "store", make)
    (tmp_path / "store" / "cells" / record.key / "outputs.parquet").write_bytes(b"x")
    (tmp_path / "store" / "cells" / record.key / "logs/log.txt").unlink()
    (fault,) = inspect(tmp_path / "store").faults
    assert "outputs.parquet is not" in fault.why
    assert "log.txt is missing" in fault.why


def test_records_of_other_releases_are_named_and_stay(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "store", make)
    monkeypatch.setattr("results.record.READ_VERSIONS", (5, 6))
    found = inspect(tmp_path / "store", repair=True)
    assert found.faults == []
    assert len(found.of_other_releases) == 2
    assert all("schema 4, this release reads 5 and 6" in each.why for each in found.of_other_releases)


def test_what_the_dead_left_is_counted_and_removed_and_what_the_living_hold_is_not(tmp_path: Path, make: Any) -> None:
    store, done = Store(tmp_path), make()
    store.commit(done)
    store.fail(make("broken", failed=True))
    (folder,) = (tmp_path / "failures").iterdir()
    for name, age in [(".1.json-ab", True), (".2.json-ab", False)]:
        (folder / name).write_text("{")
        if age:
            aged(folder / name)
    (tmp_path / "writing" / "dead").mkdir(parents=True)
    (tmp_path / "writing" / "dead" / "record.json").touch()
    store.working_folder(done.key, done.cell, "float32").mkdir(parents=True)
    store.working_folder("b" * 32, done.cell, "float32").mkdir()
    with store.claim(done.key) as claim:
        assert claim is not None
        written = claim.mark.read_bytes()
    copied = tmp_path / "attempts" / done.key / "000001.json"  # as rsync leaves it, which makes two files of one
    copied.parent.mkdir(exist_ok=True)
    for path in (copied, tmp_path / "claims" / f"{done.key}.copy.json"):
        path.write_bytes(written)
        aged(path)
    with store._begin() as (living, _), store.claim("c" * 32):
        kinds = {
            "unfinished writes": 1,
            "working folders of done cells": 0,  # its claim is not proven dead
            "temporary files": 1,
            "claims of nothing": 1,
            "attempts at done cells without an end": 1,
        }
        assert leftovers(tmp_path) == kinds
        clean(tmp_path)
        assert living.exists()
        assert [path.name for path in (tmp_path / "writing").iterdir()] == [living.name]
        assert len(store.running()) == 1
    assert {path.name for path in folder.iterdir() if path.name[0] == "."} == {".2.json-ab"}
    assert [attempt.cause is None for attempt in store.attempts(done.key)] == [False]
    assert [path.name[:32] for path in (tmp_path / "work").iterdir()] == ["b" * 32]
    assert not +leftovers(tmp_path)


def test_the_command_tells_and_ends_with_its_verdict(tmp_path: Path, make: Any) -> None:
    root, hostile = tmp_path / "store", make("\x1b[2Jtimm:\u202eone\nsound")
    filled(root, make)
    Store(root).commit(hostile, pa.table({"item": ["a"]}))
    (root / "cells" / hostile.key / "notes.txt").touch()
    ask = ["fsck", "--store", str(root)]
    sound = CliRunner().invoke(app, ask)
    assert (sound.exit_code, sound.output.splitlines()[-1]) == (0, "sound")
    assert "2 records, 3 files, 1 failures" in sound.output
    assert f"of no record, left alone: cells/{hostile.key}/notes.txt" in sound.output
    (root / "cells" / hostile.key / "outputs.parquet").write_bytes(b"")
    damaged = CliRunner().invoke(app, ask)
    assert damaged.exit_code == 1
    assert "outputs.parquet is not" in damaged.output
    assert "NOT SOUND: 1 damaged" in damaged.output
    assert not {"\x1b", "\u202e"} & set(damaged.output)
    repaired = CliRunner().invoke(app, [*ask, "--repair"])
    assert (repaired.exit_code, "moved to" in repaired.output) == (1, True)
    assert CliRunner().invoke(app, ask).exit_code == 0
    assert CliRunner().invoke(app, ["fsck", "--store", str(tmp_path / "none")]).exit_code == 2


def test_written_by_hand_it_is_no_record(tmp_path: Path, make: Any) -> None:
    """Its digest is right, for anybody can compute one; its fields are not."""
    from results.record import _digest

    body = {**json.loads(make().to_json()), "status": "excellent"}
    del body["digest"]
    folder = tmp_path / "cells" / body["key"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({**body, "digest": _digest(body)}))
    (fault,) = inspect(tmp_path).faults
    assert "fields are not what a record has" in fault.why
