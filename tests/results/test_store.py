import os
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from results.record import DamageError
from results.store import DamagedRecordWarning, Store


def test_what_is_committed_is_found_once(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    table = pa.table({"item": ["a", "b"], "correct": [True, False]})
    assert store.commit(record, table)
    assert not store.commit(record, table)
    (found,) = store.records()
    assert found.model_copy(update={"files": {}}) == record
    assert store.outputs(record.key).equals(table)
    assert store.get("0" * 32) is None


def test_failures_are_kept_apart_and_shown_until_done(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make(failed=True)
    store.fail(record)
    store.fail(record.model_copy(update={"warnings": ["second"]}))
    assert store.records() == []
    assert [each.warnings for each in store.failures()] == [["second"]]
    store.commit(record.model_copy(update={"status": "done", "error": None}))
    assert store.failures() == []


def test_a_claim_is_one_holders_and_ends_with_it(tmp_path: Path) -> None:
    one, other = Store(tmp_path), Store(tmp_path)
    with one.claim("a" * 32) as mine:
        assert mine is not None
        with other.claim("a" * 32) as theirs, other.claim("b" * 32) as another:
            assert theirs is None
            assert another is not None
    with other.claim("a" * 32) as theirs:
        assert theirs is not None


@pytest.mark.parametrize("key", ["../../etc", "", "A" * 32, "a" * 7, "a/b", "."])
def test_only_keys_become_paths(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        Store(tmp_path).get(key)


def test_outputs_changed_afterwards_are_never_used(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    store.commit(record, pa.table({"item": ["a"] * 100}))
    path = tmp_path / "cells" / record.key / "outputs.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.warns(DamagedRecordWarning, match="changed after"), pytest.raises(DamageError):
        store.outputs(record.key)
    assert store.get(record.key) is None


def test_a_copied_folder_is_not_another_record(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    store.commit(record)
    shutil.copytree(tmp_path / "cells" / record.key, tmp_path / "cells" / ("f" * 32))
    with pytest.warns(DamagedRecordWarning, match="holds the record of"):
        assert len(store.records()) == 1


def test_what_is_forgiven_counts_no_longer_and_is_kept(tmp_path: Path, make: Any) -> None:
    store, record, other = Store(tmp_path), make(failed=True), make("other", failed=True)
    for each in (record, other):
        with store.claim(each.key) as claim:
            assert claim is not None
            claim.end("error", "broken")
        store.fail(each)
    assert store.failed_keys() == {record.key, other.key}
    store.forgive(record.key)
    assert store.failed_keys() == {other.key}
    assert [each.key for each in store.failures()] == [other.key]
    assert [(each.cause, each.forgiven) for each in store.attempts(record.key)] == [("error", True)]
    assert len(list(tmp_path.glob(f"forgiven/{record.key}-*/*.json"))) == 1
    store.fail(record.model_copy(update={"warnings": ["again"]}))
    assert [each.warnings for each in store.failures() if each.key == record.key] == [["again"]]
    store.forgive(record.key)
    assert len(list(tmp_path.glob(f"forgiven/{record.key}-*/*.json"))) == 2
    store.forgive("0" * 32)


def test_forgiven_while_another_failure_is_written(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, record, rename = Store(tmp_path), make(failed=True), os.rename
    store.fail(record)

    def forgiven_just_now(*paths: Any) -> None:
        monkeypatch.setattr(os, "rename", rename)
        store.forgive(record.key)
        rename(*paths)

    monkeypatch.setattr(os, "rename", forgiven_just_now)
    store.fail(record.model_copy(update={"warnings": ["again"]}))
    assert [each.warnings for each in store.failures()] == [["again"]]


def test_keys_by_names_alone_and_at_once(tmp_path: Path, make: Any) -> None:
    """10,000 here, in a tenth of the time that 100,000 may take, and with room for a slow machine."""
    store, done, failed = Store(tmp_path), make("done"), make("failed", failed=True)
    store.commit(done)
    store.fail(failed)
    store.fail(make("done", failed=True))
    for number in range(10_000):
        (tmp_path / "cells" / f"{number:032x}").mkdir()
    (tmp_path / "cells" / "notes").mkdir()
    start = time.process_time()
    keys = store.done_keys()
    assert time.process_time() - start < 0.3
    assert len(keys) == 10_001
    assert done.key in keys
    assert store.failed_keys() == {failed.key}
