"""Case 11: a store of every older record schema is opened and read right; one of a newer release is refused by name.

older_stores/schema_N are as releases of schema N left them: a record with outputs, a failure, a lock of a claim.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bob.cli import app
from results.inspection import inspect
from results.merging import merge
from results.record import READ_VERSIONS, SCHEMA_VERSION, SchemaError
from results.store import Store

OLDER = Path(__file__).parent / "older_stores"
VERSIONS = sorted(int(folder.name.removeprefix("schema_")) for folder in OLDER.iterdir())


def opened(tmp_path: Path, version: int) -> Store:
    shutil.copytree(OLDER / f"schema_{version}", tmp_path / "store")
    return Store(tmp_path / "store")


def test_there_is_one_of_every_older_schema() -> None:
    assert [*VERSIONS, SCHEMA_VERSION] == list(READ_VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_read_as_it_was_meant(tmp_path: Path, make: Any, version: int) -> None:
    store = opened(tmp_path, version)
    (record,), (failed,) = store.records(), store.failures()
    today = make("timm:one", 0.5)
    assert (record.cell, record.scores, record.cost) == (today.cell, today.scores, today.cost)
    assert record.identity.preprocess == (None if version == 1 else {"size": [224, 224]})
    assert (record.provenance.code, record.provenance.node, record.provenance.job) == ("", "", "")
    assert failed == make("timm:two", failed=True)
    assert store.outputs(record.key)["score:mAP"].to_pylist() == [0.25, 0.75]
    written = json.loads((OLDER / f"schema_{version}" / "cells" / record.key / "record.json").read_bytes())
    assert written["schema_version"] == version
    assert "code" not in written["provenance"]


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_sound_stays_as_it_is_and_is_worked_on(tmp_path: Path, make: Any, version: int) -> None:
    store = opened(tmp_path, version)
    found = inspect(store.root)
    assert (found.faults, found.of_other_releases) == ([], [])
    assert found.counts == {"records": 1, "files": 1, "failures": 1}
    (record,) = store.records()
    assert not store.commit(record), "it is done"
    with store.claim(record.key) as claim:
        assert claim is not None, "the older release's lock holds nobody up"
    store.commit(make("timm:three"))
    older = OLDER / f"schema_{version}"
    for path in (path for path in older.rglob("*") if path.is_file()):
        assert path.read_bytes() == (store.root / path.relative_to(older)).read_bytes()


def test_stores_of_all_releases_are_merged_into_one_of_today(tmp_path: Path) -> None:
    target = Store(tmp_path / "target")
    for version in reversed(VERSIONS):
        assert merge(OLDER / f"schema_{version}", target).left_out == []
    (record,) = target.records()
    assert record.identity.preprocess == {"size": [224, 224]}
    text = (target.root / "cells" / record.key / "record.json").read_text()
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION
    assert not (target.root / "conflicts").exists()


def test_a_newer_schema_is_refused_by_its_version_and_left_alone(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    store.commit(record)
    body = {**json.loads(record.to_json()), "schema_version": 5, "surprise": 1}
    del body["digest"]
    text = json.dumps(body, sort_keys=True)
    path = tmp_path / "cells" / record.key / "record.json"
    path.write_text(f'{text[:-1]}, "digest": "{hashlib.sha256(text.encode()).hexdigest()}"}}')
    with pytest.raises(SchemaError, match="schema 5, this release reads 1 and 2 and 3 and 4"):
        store.records()
    told = CliRunner().invoke(app, ["fsck", "--repair", "--store", str(tmp_path)])
    assert "of another release, left alone" in told.output
    assert "schema 5" in told.output
    assert path.exists()
