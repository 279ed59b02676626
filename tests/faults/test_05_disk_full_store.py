"""Case 5: no space while a record is written; the error names the path, old data stay, and it works again later."""

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from results.store import Store


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path, make: Any) -> None:
    store = Store(tmp_path)
    store.commit(make("first"))
    big = pa.table({"value": [os.urandom(1 << 20)]})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="make room") as error:
            store.commit(make("second"), big)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        with pytest.raises(OSError, match="make room") as refused, store.claim("a" * 32):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(tmp_path) in str(error.value.filename)
    assert [record.cell.backbone for record in store.records()] == ["first"]
    assert str(tmp_path / "claims") in str(refused.value.filename)
    assert [list((tmp_path / name).iterdir()) for name in ("writing", "claims")] == [[], []]
    with store.claim("a" * 32) as claim:
        assert claim is not None
    assert store.commit(make("second"), big)
    assert len(store.records()) == 2
