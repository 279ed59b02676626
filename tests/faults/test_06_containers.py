"""Case 6: containers that share a store, a host name and process ids never take one another for dead."""

import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import results.store
from results.store import Store


def wait_for(path: Path, pattern: str) -> None:
    end = time.monotonic() + 30
    while not list(path.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {path}"
        time.sleep(0.01)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as another container: of the same host name, where no other process's id means anything."""

    def nobody(pid: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(socket, "gethostname", lambda: "container")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "kill", nobody)


def child(work: Callable[[], bool]) -> int:
    """The id of another process that does this, and exits with 0 where it says that it was done."""
    if pid := os.fork():
        return pid
    done = False
    try:
        done = work()
    finally:
        os._exit(0 if done else 1)


def start_writer(folder: Path, record: Any, go_on: Path) -> int:
    """Another process that stops half-way through a commit until ``go_on`` exists."""
    write = results.store._write

    def half(path: Path, data: bytes) -> Any:
        path.with_name("half").write_bytes(data[:10])
        end = time.monotonic() + 30
        while not go_on.exists() and time.monotonic() < end:
            time.sleep(0.01)
        path.with_name("half").unlink()
        return write(path, data)

    def commit() -> bool:
        results.store._write = half
        return Store(folder).commit(record)

    return child(commit)


def test_a_living_writer_is_left_alone(tmp_path: Path, make: Any, elsewhere: None) -> None:
    go_on = tmp_path / "go on"
    pid = start_writer(tmp_path / "store", make(), go_on)
    wait_for(tmp_path / "store" / "writing", "*/half")
    assert Store(tmp_path / "store").records() == []
    assert list((tmp_path / "store" / "writing").glob("*/half"))
    go_on.touch()
    assert os.waitpid(pid, 0)[1] == 0
    assert len(Store(tmp_path / "store").records()) == 1
    assert not list((tmp_path / "store" / "writing").iterdir())


def test_a_dead_writers_leftovers_go_wherever_it_ran(tmp_path: Path, make: Any) -> None:
    pid = start_writer(tmp_path / "store", make(), tmp_path / "never")
    wait_for(tmp_path / "store" / "writing", "*/half")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert Store(tmp_path / "store").records() == []
    assert not list((tmp_path / "store" / "writing").iterdir())


def test_writers_of_one_process_id_do_not_collide(tmp_path: Path, make: Any, elsewhere: None) -> None:
    """As they are the first process of their container each."""
    store = Store(tmp_path)

    def commits(start: int) -> bool:
        return all(store.commit(make(seed=start + number)) for number in range(30))

    children = [child(partial(commits, 100 * number)) for number in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert len(Store(tmp_path).records()) == 90


def test_a_store_that_is_only_read_stays_as_it_is(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).commit(make())
    (tmp_path / "writing" / ("a" * 32)).mkdir()

    def refuse(*_: object, **__: object) -> Any:
        raise PermissionError("read-only")

    monkeypatch.setattr("results.store.FileLock", refuse)
    assert len(Store(tmp_path).records()) == 1
