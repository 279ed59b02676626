"""Two users on one store: what one leaves there, the other goes on with; what is not shared is refused with advice."""

import os
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from results.claims import Claims
from results.shared import for_the_group
from results.store import Store

GROUP, ONE, OTHER = 54321, 54322, 54323
KEY = "a" * 32

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")


@pytest.fixture
def root() -> Any:
    """A store's root that both may enter, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="bob-shared-") as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "store"
        folder.mkdir()
        os.chown(folder, ONE, GROUP)
        folder.chmod(0o2775)
        yield folder


def start_as(user: int, work: Callable[[], object], umask: int = 0o077) -> int:
    """The id of a process of that user, which exits with what this returns, or with 100 where it raised."""
    pid = os.fork()
    if pid == 0:
        code = 100
        try:
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            os.umask(umask)
            code = int(bool(work()))
        finally:
            os._exit(code)
    return pid


def work_as(user: int, work: Callable[[], object], umask: int = 0o077) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(start_as(user, work, umask), 0)[1])


def takes(root: Path, cause: Any = None) -> bool:
    with Store(root, Claims(root, 0.1, 0.02)).claim(KEY) as claim:
        if claim is not None and cause is not None:
            claim.end(cause)
        return claim is not None


@as_root
def test_another_users_claim_is_seen_and_taken_over_when_dead(root: Path) -> None:
    ready, wait = os.pipe()

    def hold() -> None:
        with Store(root).claim(KEY):
            folder = root / "work" / f"{KEY}-{'0' * 16}" / "checkpoints"
            folder.mkdir(parents=True)
            (folder / "model").touch()
            os.write(wait, b"1")
            time.sleep(30)

    pid = start_as(ONE, hold)
    os.read(ready, 1)
    assert work_as(OTHER, lambda: takes(root)) == 0
    os.kill(pid, 9)
    os.waitpid(pid, 0)

    def go_on() -> bool:
        (file,) = root.glob("work/*/checkpoints/model")
        file.write_text("further")
        (file.parent / "next").touch()
        file.unlink()
        return takes(root, "error") and [each.cause for each in Store(root).attempts(KEY)] == ["killed", "error"]

    assert work_as(OTHER, go_on) == 1
    assert work_as(ONE, lambda: takes(root, "done")) == 1


@as_root
def test_all_that_is_written_is_the_groups(root: Path, make: Any) -> None:
    done, failed = make(), make("failed", failed=True)

    def write() -> bool:
        store = Store(root)
        with store.claim(KEY) as claim:
            assert claim is not None
            claim.end("error")
        store.fail(failed)
        store.forgive(failed.key)
        store.fail(failed)
        return store.commit(done)

    assert work_as(ONE, write) == 1
    paths = list(root.rglob("*"))
    assert len(paths) > 10
    for path in paths:
        facts = path.stat()
        assert facts.st_gid == GROUP
        assert facts.st_mode & stat.S_IWGRP, path
        assert not facts.st_mode & stat.S_IRWXO, "the rest of the umask is the user's own"

    def read_and_mend() -> bool:
        store = Store(root)
        (root / "cells" / done.key / "record.json").write_text("torn")
        with pytest.warns(UserWarning, match="damaged"):
            assert store.get(done.key) is None
        store.forgive(failed.key)
        return not store.failed_keys() and store.commit(done)

    assert work_as(OTHER, read_and_mend) == 1
    assert work_as(ONE, lambda: len(Store(root).records()) == 1) == 1


@as_root
def test_a_store_of_one_user_says_so_to_another(root: Path, make: Any) -> None:
    root.chmod(0o755)
    assert work_as(ONE, lambda: Store(root).commit(make()), umask=0o022) == 1
    assert not any(path.stat().st_mode & stat.S_IWGRP for path in root.rglob("*"))

    def refused() -> bool:
        store = Store(root)
        with pytest.raises(PermissionError, match="let this user write there") as error, store.claim(KEY):
            pass
        with pytest.raises(PermissionError, match="mode g\\+ws") as other:
            store.commit(make("other"))
        return len(store.records()) == 1 and str(root) in str(error.value) and str(root) in str(other.value)

    assert work_as(OTHER, refused) == 1
    assert not list(root.glob("attempts/*"))


@pytest.mark.parametrize(("mode", "file"), [(0o755, 0o600), (0o775, 0o660), (0o2770, 0o660)])
def test_the_umask_is_opened_to_the_group_and_put_back(tmp_path: Path, mode: int, file: int) -> None:
    tmp_path.chmod(mode)
    before = os.umask(0o077)
    try:
        with suppress(ValueError), for_the_group(tmp_path):
            (tmp_path / "file").touch()
            raise ValueError
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == file
    with for_the_group(tmp_path / "none"):
        pass
