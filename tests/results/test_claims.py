"""Claims: one holder at a time, an end that leaves a trace, nothing half-made where it cannot be written."""

import errno
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import results.claims
from results.attempts import Attempt
from results.claims import Claim, Claims
from results.store import Store

KEY, OTHER = "a" * 32, "b" * 32


def names(folder: Path) -> list[str]:
    """All files below, without their tokens."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def last_words(work: Callable[[], object]) -> int:
    """Do this in another process, and be killed; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    return pid


def hold(root: Path, key: str = KEY, **facts: Any) -> Claim:
    """Take a claim and do not let go of it."""
    context = Claims(root, **facts).claim(key)
    _never_left.append(context)
    claim = context.__enter__()
    assert claim is not None
    return claim


_never_left: list[object] = []


def die_holding(root: Path, key: str = KEY, **facts: Any) -> int:
    return last_words(lambda: hold(root, key, **facts))


def test_a_cell_done_at_once_leaves_no_trace(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.claim(KEY) as claim:
        assert claim is not None
        assert (claim.attempt.number, claim.attempt.pid, claim.attempt.node) == (1, os.getpid(), socket.gethostname())
        assert (claim.earlier, claim.lost) == ((), False)
        assert claims.attempts(KEY) == [claim.attempt]
        ((running, age),) = claims.running()
        assert running == claim.attempt
        assert 0 <= age < 5
        claim.end("done")
        assert claims.running() == claims.attempts(KEY) == []
    assert names(tmp_path) == []
    assert not list((tmp_path / "attempts").iterdir())


def test_one_that_was_not_ended_is_withdrawn(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.claim(KEY) as claim:
        assert claim is not None
        claim.end("error", "broken", tail="ValueError: broken")
    with claims.claim(KEY) as claim:
        assert claim is not None
        assert claim.attempt.number == 2
    (trace,) = claims.attempts(KEY)
    assert (trace.cause, trace.message, trace.tail) == ("error", "broken", "ValueError: broken")
    assert names(tmp_path) == [f"attempts/{KEY}/000001.json"]


def test_every_attempt_after_a_first_that_failed_leaves_a_trace(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    for cause in ("out of memory", "stopped", "done"):
        with claims.claim(KEY) as claim:
            assert claim is not None
            claim.end(cause)
    with claims.claim(KEY) as claim:
        assert claim is not None
        assert [each.cause for each in claim.earlier] == ["out of memory", "stopped", "done"]
    assert [each.number for each in claims.attempts(KEY)] == [1, 2, 3]
    assert all(each.ended for each in claims.attempts(KEY))


@pytest.mark.parametrize(
    ("raised", "cause"), [(ValueError("broken"), "error"), (KeyboardInterrupt("SIGINT"), "stopped")]
)
def test_what_passes_through_ends_it(tmp_path: Path, raised: BaseException, cause: str) -> None:
    claims = Claims(tmp_path)
    with pytest.raises(type(raised)), claims.claim(KEY):
        raise raised
    (trace,) = claims.attempts(KEY)
    assert trace.cause == cause
    assert str(raised) in trace.message
    assert claims.running() == []


def test_held_while_it_is_held_by_whoever_looks(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.claim(KEY) as mine, other.claim(KEY) as theirs, one.claim(KEY) as again, other.claim(OTHER) as another:
        assert (theirs, again) == (None, None)
        assert mine is not None
        assert another is not None
        assert {each.key for each, _ in other.running()} == {KEY, OTHER}
        assert len(names(tmp_path)) == 4
    assert names(tmp_path) == []


def test_a_forked_child_neither_holds_nor_ends_its_parents_claim(tmp_path: Path) -> None:
    """Workers of a loader outlive a parent that is killed: its claim must not live on in them."""
    started, go_on = tmp_path / "started", tmp_path / "go on"

    def hold_and_fork() -> None:
        claim = hold(tmp_path)
        if os.fork() == 0:
            claim.end("error")
            started.touch()
            end = time.monotonic() + 10
            while not go_on.exists() and time.monotonic() < end:
                time.sleep(0.01)
            os._exit(0)
        while not started.exists():
            time.sleep(0.01)

    last_words(hold_and_fork)
    with Claims(tmp_path).claim(KEY) as claim:
        assert claim is not None
        assert [each.cause for each in claim.earlier] == ["killed"]
    go_on.touch()


def test_a_parent_ends_what_its_child_was_at(tmp_path: Path) -> None:
    claims, node = Claims(tmp_path), socket.gethostname()
    pid = die_holding(tmp_path)
    with claims.claim(OTHER) as mine:
        assert mine is not None
        assert claims.end_attempts("another node", pid, "killed") == []
        assert claims.end_attempts(node, os.getpid(), "killed") == [], "it lives"
        assert claims.end_attempts(node, pid, "killed", machine="another kernel") == []
        assert claims.end_attempts(node, pid, "out of memory", "the kernel's killer", -9, "last\nwords") == [KEY]
        assert claims.end_attempts(node, pid, "killed") == []
        (trace,) = claims.attempts(KEY)
        told = (trace.cause, trace.message, trace.exit_code, trace.tail)
        assert told == ("out of memory", "the kernel's killer", -9, "last\nwords")
        assert [each.key for each, _ in claims.running()] == [OTHER]


def test_of_another_machine_the_caller_is_believed(tmp_path: Path) -> None:
    pid = die_holding(tmp_path, machine="another kernel")
    claims = Claims(tmp_path)
    assert claims.end_attempts(socket.gethostname(), pid, "node lost") == []
    assert claims.end_attempts(socket.gethostname(), pid, "node lost", machine="another kernel") == [KEY]
    assert [each.cause for each in claims.attempts(KEY)] == ["node lost"]


def test_the_forgiven_are_kept_and_marked(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    for _ in range(2):
        die_holding(tmp_path)
    with claims.claim(KEY) as claim:
        assert claim is not None
        claims.forgive(KEY)
        assert [(each.cause, each.forgiven) for each in claims.attempts(KEY)] == [
            ("killed", True), ("killed", True), (None, False),
        ]  # fmt: skip
        assert not claim.lost


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "link", "list"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    tmp_path: Path, call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(tmp_path)

    def fail(path: object, *_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    places: dict[str, tuple[object, str]] = {
        "mkdir": (Path, "mkdir"), "open": (os, "open"), "write": (Path, "write_text"), "link": (os, "link"),
        "list": (results.claims.Claims, "_succeed"),
    }  # fmt: skip
    advice = "make room" if number == errno.ENOSPC else "let this user write"
    with monkeypatch.context() as patch:
        patch.setattr(*places[call], fail)
        with pytest.raises(OSError, match=advice) as error, claims.claim(KEY):
            pass
    assert error.value.errno == number
    assert error.value.filename
    assert names(tmp_path) == []
    assert not list(tmp_path.glob("attempts/*"))
    with claims.claim(KEY) as claim:
        assert claim is not None


def test_an_end_that_cannot_be_written_fails_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with claims.claim(KEY) as claim, monkeypatch.context() as patch:
        assert claim is not None
        patch.setattr(os, "replace", full)
        claim.end("error")
    with claims.claim(KEY) as claim:
        assert claim is not None
        assert [each.cause for each in claim.earlier] == ["killed"]


def test_numbers_that_began_anew_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waits for attempt 1, which is done and removed; B begins anew at 1, and A must not hold 2 beside it."""
    claims, other = Claims(tmp_path), Claims(tmp_path)
    die_holding(tmp_path)
    link, held = os.link, []

    def anew(*paths: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        (tmp_path / "attempts" / KEY / "000001.json").unlink()
        context = other.claim(KEY)
        held.append((context, context.__enter__()))
        link(*paths)

    monkeypatch.setattr(os, "link", anew)
    with claims.claim(KEY) as late:
        assert late is None
        ((context, first),) = held
        assert isinstance(first, Claim)
        assert (first.attempt.number, first.lost) == (1, False)
        context.__exit__(None, None, None)


def test_a_folder_removed_while_one_is_coming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def removed(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        target.parent.rmdir()
        link(source, target)

    monkeypatch.setattr(os, "link", removed)
    with Claims(tmp_path).claim(KEY) as claim:
        assert claim is not None


def test_a_torn_attempt_is_taken_after_the_lease(tmp_path: Path) -> None:
    folder = tmp_path / "attempts" / KEY
    folder.mkdir(parents=True)
    (folder / "000001.json").touch()
    claims, start = Claims(tmp_path, lease_s=0.1), time.monotonic()
    while True:
        with claims.claim(KEY) as claim:
            if claim is not None:
                assert [each.cause for each in claim.earlier] == ["lost"]
                break
        time.sleep(0.01)
    assert time.monotonic() - start >= 0.1


def test_leftovers_go_at_the_next_opening(tmp_path: Path, make: Any) -> None:
    """Of a holder that died between its commit and its end, and of one that died while it was coming."""
    record = make()

    def commit_and_die() -> None:
        hold(tmp_path, record.key)
        Store(tmp_path).commit(record)

    def come_and_die() -> None:
        results.claims.Claims._link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign,func-returns-value,return-value]
        hold(tmp_path, OTHER)

    last_words(commit_and_die)
    last_words(come_and_die)
    die_holding(tmp_path, key="c" * 32)
    (tmp_path / "claims" / f"{KEY}.lock").touch()  # of an older release
    assert len(Store(tmp_path).running()) == 1
    assert names(tmp_path / "attempts") == [f"{'c' * 32}/000001.json"]
    assert len(names(tmp_path / "claims")) == 3, "of who is coming one cannot tell for a while"
    assert len(Store(tmp_path, Claims(tmp_path, lease_s=-1)).running()) == 1
    assert len(names(tmp_path / "claims")) == 2


def test_a_commit_of_another_machine_that_died_before_its_end(tmp_path: Path, make: Any) -> None:
    record = make()
    die_holding(tmp_path, record.key, machine="another")
    Store(tmp_path).commit(record)
    assert len(Store(tmp_path).running()) == 1
    assert Store(tmp_path, Claims(tmp_path, lease_s=-1)).running() == []
    assert names(tmp_path / "attempts") == []


def test_locks_that_do_not_work_are_not_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", unsupported)
        with Claims(tmp_path).claim(KEY) as claim:
            assert claim is not None
            assert claim.attempt.machine == ""
            patch.undo()
            with Claims(tmp_path).claim(KEY) as other:
                assert other is None, "its file is not locked, but it lives"


def test_reading_makes_nothing(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "none")
    assert claims.running() == claims.attempts(KEY) == claims.end_attempts("node", 1, "killed") == []
    claims.forgive(KEY)
    claims.clean(lambda key: True)
    assert not (tmp_path / "none").exists()


def test_an_attempts_form_is_kept() -> None:
    """Other releases and other tools read it."""
    attempt = Attempt(key=KEY, number=1, token="t", started="2026-01-01T00:00:00+00:00", node="n", machine="m", pid=1)
    assert Attempt.model_validate_json(attempt.model_dump_json()) == attempt
