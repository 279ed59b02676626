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
    write = results.store._write_to

    def half(file: Any, data: bytes) -> Any:
        mark = Path(file.name).with_name("half")
        mark.touch()
        end = time.monotonic() + 30
        while not go_on.exists() and time.monotonic() < end:
            time.sleep(0.01)
        mark.unlink()
        return write(file, data)

    def commit() -> bool:
        results.store._write_to = half
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


@pytest.mark.parametrize("moment", ["folder", "file", "lock"])
def test_somebody_cleaning_at_any_moment_of_a_beginning(
    moment: str, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the folder, the file and the lock, a writer is not to be told from a dead one: it begins again."""
    cleaned: list[int] = []

    def clean() -> None:
        if not cleaned:
            cleaned.append(len(list((tmp_path / "writing").iterdir())))
            Store(tmp_path)
            assert not list((tmp_path / "writing").iterdir())

    locked_file, lock = results.store._locked_file, results.store._lock

    def before_the_file(path: Path) -> Any:
        if moment == "folder":
            clean()
        return locked_file(path)

    def around_the_lock(file: Any) -> bool:
        if moment == "file" and not cleaned:
            clean()
        if moment == "lock" and not cleaned:
            with Path(file.name).open("r+b") as theirs:  # somebody cleaning holds it just now
                assert lock(theirs)
                cleaned.append(1)
                return lock(file)
        return lock(file)

    monkeypatch.setattr(results.store, "_locked_file", before_the_file)
    monkeypatch.setattr(results.store, "_lock", around_the_lock)
    store = Store(tmp_path)
    assert store.commit(make())
    assert cleaned == [1]
    assert len(Store(tmp_path).records()) == 1


def test_what_was_half_removed_goes(tmp_path: Path) -> None:
    (tmp_path / "writing" / ("a" * 32)).mkdir(parents=True)
    (tmp_path / "writing" / ("a" * 32) / "outputs.parquet").touch()
    Store(tmp_path)
    assert not list((tmp_path / "writing").iterdir())


def test_a_store_that_is_only_read_stays_as_it_is(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).commit(make())
    left = tmp_path / "writing" / ("a" * 32)
    left.mkdir()

    def refuse(*_: object, **__: object) -> Any:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "rmdir", refuse)
    assert len(Store(tmp_path).records()) == 1
    assert left.exists()
