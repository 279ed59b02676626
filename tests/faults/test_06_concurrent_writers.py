"""Case 6: many processes on one store; every record is there exactly once, and no two ever hold one claim."""

import os
from pathlib import Path
from typing import Any

from results.store import Store

WRITERS, RECORDS = 8, 40


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
