"""Case 3: every call that writes fails once, for every n: a clean error or the whole result, then a sound store."""

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from results.inspection import inspect
from results.leftovers import leftovers
from results.merging import merge
from results.store import Store

TABLE = pa.table({"item": ["a", "b"]})


class Disk:
    """Counts calls that write, and fails the ``n``-th (never: 0)."""

    def __init__(self, n: int) -> None:
        self.n, self.calls, self.named = n, 0, list[str]()

    def call(self, name: str) -> None:
        self.calls += 1
        self.named.append(name)
        if self.calls == self.n:
            raise OSError(errno.EIO, os.strerror(errno.EIO), f"/{name}")


class Written:
    """A file whose every write may fail."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> Any:
        self._disk.call("write")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@contextmanager
def failing(n: int) -> Iterator[Disk]:
    """The ``n``-th call fails. Nothing is synced in truth, which would only take time."""
    disk = Disk(n)

    def guarded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            disk.call(name)
            return call(*arguments, **options)

        return run

    open_file = io.open

    def opened(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        disk.call("open")
        file = open_file(path, mode, *arguments, **options)
        return file if set(mode) <= set("rbt") else Written(file, disk)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "rename", "replace", "link", "mkdir"):
            patch.setattr(os, name, guarded(name, getattr(os, name)))
        patch.setattr(os, "fsync", guarded("fsync", lambda file: None))
        patch.setattr(io, "open", opened)
        yield disk


def work(root: Path, make: Any) -> None:
    """A cell is claimed, fails; is claimed again and done, with a table and a log."""
    store, record, failed = Store(root), make(), make("timm:two", failed=True)
    with store.claim(failed.key) as claim:
        assert claim is not None
        store.fail(failed)
        claim.end("error")
    with store.claim(record.key) as claim:
        assert claim is not None
        store.commit(record, TABLE, {"logs/log.txt": root.parent / "log"})
        claim.end("done")


def add(root: Path, make: Any) -> None:
    """Another store is merged, of which one answer is not that of this one."""
    merge(root.parent / "source", Store(root))


@pytest.fixture
def begun(tmp_path: Path, make: Any) -> Path:
    """A store with a record, and beside it what the work needs."""
    (tmp_path / "log").write_text("step 1")
    source, record = Store(tmp_path / "source"), make("common")
    source.commit(record.model_copy(update={"scores": make(value=0.9).scores}), TABLE)
    source.commit(make("other"), TABLE)
    source.fail(make("timm:two", failed=True))
    Store(tmp_path / "begun").commit(record, TABLE)
    return tmp_path / "begun"


def contents(root: Path) -> set[str]:
    """Names of what is kept, but for those that are times."""
    kept = (
        path.relative_to(root) for part in ("cells", "conflicts", "failures") for path in (root / part).rglob("[!.]*")
    )
    return {"/".join(path.parts[:2]) for path in kept}


@pytest.mark.parametrize("operation", [work, add])
def test_every_call_fails_once(begun: Path, make: Any, operation: Callable[[Path, Any], None]) -> None:
    whole = begun.with_name("whole")
    shutil.copytree(begun, whole)
    with failing(0) as disk:
        operation(whole, make)
    assert {"open", "write", "fsync", "rename", "mkdir"} | ({"link"} if operation is work else set()) <= set(disk.named)
    errors = list[OSError]()
    for n in range(1, disk.calls + 1):
        root = begun.with_name(f"{n}")
        shutil.copytree(begun, root)
        try:
            with failing(n):
                operation(root, make)
        except OSError as error:
            errors.append(error)
        assert inspect(root).faults == [], (n, disk.named[n - 1])
        operation(root, make)
        assert contents(root) == contents(whole), (n, disk.named[n - 1])
        assert inspect(root).faults == []
        left = +leftovers(root)
        assert not left, (n, left)
    assert len(errors) > disk.calls / 2
    assert all(error.errno == errno.EIO and error.filename for error in errors)
