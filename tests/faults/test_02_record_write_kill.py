"""Case 2: kill -9 inside a record's write; what was there stays readable, leftovers are cleaned by the next start."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from results.store import Store


def test_killed_writers_leave_whole_records_only(tmp_path: Path, make: Any) -> None:
    chance = random.Random(0)
    outputs = pa.table({"item": [f"{i}" for i in range(20_000)], "value": [chance.random() for _ in range(20_000)]})
    seen = attempt = 0
    while attempt < 40 or seen <= 20:  # a busy disk commits less between kills: go on until enough are there
        attempt += 1
        pid = os.fork()
        if pid == 0:
            store = Store(tmp_path)
            for number in range(10_000):
                store.commit(make(seed=1000 * attempt + number), outputs)
            os._exit(0)
        time.sleep(chance.uniform(0.005, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        store = Store(tmp_path)
        records = store.records()
        assert len(records) >= seen
        seen = len(records)
        assert all(store.outputs(record.key).num_rows == 20_000 for record in records[-2:])
        assert not list((tmp_path / "writing").glob("*")), "leftovers of the dead are cleaned"
    assert seen > 20
    assert not (tmp_path / "quarantine").exists()
