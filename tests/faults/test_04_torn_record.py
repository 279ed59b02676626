"""Case 4: a record cut at every length, or with a flipped byte, is set aside with a warning and computed again."""

from pathlib import Path
from typing import Any

import pytest

from results.store import DamagedRecordWarning, Store


def test_every_torn_length_is_noticed(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    store.commit(record)
    path = tmp_path / "cells" / record.key / "record.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.warns(DamagedRecordWarning, match="computed again"):
            assert store.records() == []
        assert store.commit(record), "the cell can be computed again"


def test_every_flipped_byte_is_noticed(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make()
    store.commit(record)
    path = tmp_path / "cells" / record.key / "record.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0b10
        path.write_bytes(damaged)
        with pytest.warns(DamagedRecordWarning, match="computed again"):
            assert store.get(record.key) is None
        store.commit(record)


def test_torn_outputs_are_noticed(tmp_path: Path, make: Any) -> None:
    import pyarrow as pa

    store, record = Store(tmp_path), make()
    store.commit(record, pa.table({"item": ["a"] * 50}))
    path = tmp_path / "cells" / record.key / "outputs.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(DamagedRecordWarning, match="bytes long"):
        assert store.records() == []
