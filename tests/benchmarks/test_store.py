"""Durable commits against the bare minimum on the same disk, in turn: write, fsync, rename, fsync of the folder."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from results.store import Store

pytestmark = pytest.mark.slow


def bare(folder: Path, number: int, data: bytes) -> None:
    path = folder / f"{number}.tmp"
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path, folder / f"{number}.json")
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def test_commits_a_second(tmp_path: Path, make: Any) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "bare"
    folder.mkdir()
    rates: dict[str, list[float]] = {"bare": [], "store": []}
    for turn in range(9):
        records = [make(seed=1000 * turn + number) for number in range(200)]
        data = records[0].to_json().encode()
        start = time.perf_counter()
        for number in range(200):
            bare(folder, 1000 * turn + number, data)
        rates["bare"].append(200 / (time.perf_counter() - start))
        start = time.perf_counter()
        for record in records:
            store.commit(record)
        rates["store"].append(200 / (time.perf_counter() - start))
    bare_rate, store_rate = (statistics.median(rates[name]) for name in ("bare", "store"))
    print(f"\ncommits a second: store {store_rate:.0f}, bare {bare_rate:.0f}, ratio {store_rate / bare_rate:.2f}")
    assert store_rate / bare_rate >= 1000 / 1750
