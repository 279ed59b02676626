"""Case 6: many processes on one store; every record is there exactly once, and no two ever hold one claim."""

import errno
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from results.claims import Claims
from results.store import Store

WRITERS, RECORDS = 8, 40
ROUNDS = 50
LEASE = 0.3


def test_every_record_once_and_every_claim_alone(tmp_path: Path, make: Any) -> None:
    log = tmp_path / "log"
    children = []
    for _ in range(WRITERS):
        pid = os.fork()
        if pid == 0:
            store = Store(tmp_path / "store")
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number in range(RECORDS):
                record = make(seed=number)
                with store.claim(record.key) as mine:
                    if mine and store.get(record.key) is None:
                        os.write(descriptor, f"{number}\n".encode())
                        if not store.commit(record):
                            os._exit(1)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * WRITERS
    written = sorted(int(line) for line in log.read_text().split())
    assert written == sorted(set(written)), "one cell was worked on by two at once"
    store = Store(tmp_path / "store")
    for number in set(range(RECORDS)) - set(written):
        store.commit(make(seed=number))
    assert sorted(record.cell.seed for record in store.records()) == list(range(RECORDS))


def test_unclaimed_writers_of_one_record_leave_one(tmp_path: Path, make: Any) -> None:
    children = []
    for _ in range(WRITERS):
        pid = os.fork()
        if pid == 0:
            os._exit(int(Store(tmp_path).commit(make())))
        children.append(pid)
    assert sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children) == 1
    assert len(Store(tmp_path).records()) == 1


def die_holding_all(root: Path) -> None:
    """One process takes the claims of all rounds, and is killed."""
    pid = os.fork()
    if pid == 0:
        held = [Claims(root, LEASE, 0.05).claim(f"{number:032x}") for number in range(ROUNDS)]
        assert None not in [each.__enter__() for each in held]
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def take_each_once(root: Path, log: Path) -> None:
    """Every round's claim: wait until it is one's own, or somebody else's who keeps it."""
    claims, descriptor = Claims(root, LEASE, 0.05), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    held, left = [], set(range(ROUNDS))
    end = time.monotonic() + 20
    while left and time.monotonic() < end:
        for number in sorted(left):
            context = claims.claim(f"{number:032x}")
            claim = context.__enter__()
            held.append(context)
            if claim is not None:
                os.write(descriptor, f"{number}\n".encode())
            if claim is not None or len(claims.attempts(f"{number:032x}")) == 2:
                left.discard(number)
        time.sleep(0.01)
    os.write(descriptor, b"ready\n")
    while log.read_text().count("ready") < WRITERS and time.monotonic() < end:
        time.sleep(0.01)  # a claim that is let go of could be taken again, rightly
    os._exit(0)


@pytest.mark.parametrize("locks", ["locks", "no locks"])
def test_exactly_one_takes_a_dead_claim(tmp_path: Path, locks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked, hearts alone decide."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    if locks == "no locks":
        monkeypatch.setattr(fcntl, "flock", unsupported)
    log = tmp_path / "log"
    die_holding_all(tmp_path)
    children = []
    for _ in range(WRITERS):
        if (pid := os.fork()) == 0:
            take_each_once(tmp_path, log)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * WRITERS
    taken = [int(line) for line in log.read_text().split() if line != "ready"]
    assert sorted(taken) == list(range(ROUNDS))
