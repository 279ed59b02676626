"""Case 7: a worker dies holding a claim, clocks are an hour off: taken over in time, and nothing living is stolen."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from results.claims import Claim, Claims
from results.store import Store

KEY = "a" * 32
LEASE, BEAT = 0.3, 0.03
HOUR = 3600.0
ELSEWHERE = "another machine"


@contextmanager
def holder(root: Path, after: Callable[[Claim], object] = lambda _: time.sleep(60), **facts: Any) -> Iterator[int]:
    """Another process that took the claim, and then does this."""
    ready, wait = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with Claims(root, LEASE, BEAT, **facts).claim(KEY) as claim:
                assert claim is not None
                os.write(wait, b"1")
                after(claim)
        finally:
            os._exit(0)
    os.read(ready, 1)
    try:
        yield pid
    finally:
        end_process(pid, signal.SIGKILL)


def end_process(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it was ended by the test


def wait_to_take(claims: Claims, at_most: float) -> tuple[float, str]:
    """How long it took to get the claim, and what was said of the holder before; at least one try is made."""
    start = time.monotonic()
    while True:
        with claims.claim(KEY) as claim:
            waited = time.monotonic() - start
            if claim is not None:
                return waited, str(claim.earlier[-1].cause)
        assert waited < at_most, "nobody took it over"
        time.sleep(0.005)


def is_never_taken(claims: Claims, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        meanwhile()
        with claims.claim(KEY) as claim:
            if claim is not None:
                return False
        time.sleep(0.01)
    return True


def test_on_the_same_machine_at_once(tmp_path: Path) -> None:
    claims = Claims(tmp_path)  # with a lease of minutes
    with holder(tmp_path) as pid:
        assert is_never_taken(claims, 0.1)
        end_process(pid, signal.SIGKILL)
        waited, cause = wait_to_take(claims, 5)
        assert waited < 1
        assert cause == "killed"


def test_from_another_machine_after_the_lease_and_not_before(tmp_path: Path) -> None:
    claims = Claims(tmp_path, LEASE, BEAT, machine=ELSEWHERE)
    with holder(tmp_path) as pid:
        end_process(pid, signal.SIGKILL)
        waited, cause = wait_to_take(claims, 10)
        assert waited >= LEASE
        assert cause == "lost"


def test_a_living_long_unit_is_not_stolen(tmp_path: Path) -> None:
    with holder(tmp_path) as pid:
        assert is_never_taken(Claims(tmp_path, LEASE, BEAT, machine=ELSEWHERE), 5 * LEASE)
        os.kill(pid, 0)


@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_nor_when_times_are_shifted(tmp_path: Path, shift: float) -> None:
    """Those of its file, as a server whose clock jumps shows them."""
    file = tmp_path / "attempts" / KEY / "000001.json"

    def move() -> None:
        facts = file.stat()
        os.utime(file, (facts.st_atime + shift, facts.st_mtime + shift))

    with holder(tmp_path):
        assert is_never_taken(Claims(tmp_path, LEASE, BEAT, machine=ELSEWHERE), 3 * LEASE, move)


@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_times_an_hour_off_do_not_keep_the_dead(tmp_path: Path, shift: float) -> None:
    with holder(tmp_path) as pid:
        end_process(pid, signal.SIGKILL)
        (file,) = (tmp_path / "attempts" / KEY).iterdir()
        os.utime(file, (time.time() + shift, time.time() + shift))
        waited, _ = wait_to_take(Claims(tmp_path, LEASE, BEAT, machine=ELSEWHERE), 10)
        assert waited >= LEASE


@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_an_observers_wall_clock_does_not_matter(tmp_path: Path, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with holder(tmp_path) as pid:
        now, now_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: now() + shift)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(shift * 1e9))
        claims = Claims(tmp_path, LEASE, BEAT, machine=ELSEWHERE)
        assert is_never_taken(claims, 3 * LEASE)
        ((_, age),) = claims.running()
        assert age < 5, "what people see is by the file system's clock"
        end_process(pid, signal.SIGKILL)
        assert wait_to_take(claims, 10)[0] >= LEASE / 2


def test_a_holder_that_sleeps_finds_out_when_it_wakes(tmp_path: Path, make: Any) -> None:
    """Stopped for longer than the lease, taken over from another machine; its commit is one more of the same record."""
    record, told, go_on = make(), tmp_path / "told", tmp_path / "go on"
    root = tmp_path / "store"

    def wake(claim: Claim) -> None:
        while not go_on.exists():
            time.sleep(0.01)
        lost = claim.lost
        committed = Store(root).commit(record)
        claim.end("done")
        told.write_text(f"{lost} {committed}")

    with holder(root, wake) as pid:
        os.kill(pid, signal.SIGSTOP)
        claims = Claims(root, LEASE, BEAT, machine=ELSEWHERE)
        wait_until = time.monotonic() + 10
        while True:
            with claims.claim(KEY) as claim:
                if claim is not None:
                    assert Store(root).commit(record)
                    go_on.touch()
                    os.kill(pid, signal.SIGCONT)
                    os.waitpid(pid, 0)
                    assert told.read_text() == "True False"
                    assert not claim.lost, "what it did when it woke has not harmed whoever took over"
                    claim.end("done")
                    break
            assert time.monotonic() < wait_until
            time.sleep(0.01)
        assert [each.cause for each in claims.attempts(KEY)] == ["lost", "done"]
        assert len(Store(root).records()) == 1
        assert claims.running() == []


def test_a_heart_that_cannot_beat_for_a_while_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utime, failures = os.utime, []

    def away(path: Path) -> None:
        if len(failures) < 2:
            failures.append(path)
            raise OSError(5, "Input/output error")
        utime(path)

    monkeypatch.setattr(os, "utime", away)
    with Claims(tmp_path, LEASE, BEAT).claim(KEY) as claim:
        assert claim is not None
        assert is_never_taken(Claims(tmp_path, LEASE, BEAT, machine=ELSEWHERE), 3 * LEASE)
    assert len(failures) == 2
