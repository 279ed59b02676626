"""Case 1: kill -9 of a run at random moments; the board is that of an uninterrupted run, no cell computed twice."""

import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


def computed(log: str) -> Counter[str]:
    """Cells a log says were computed: a line each, ``backbone  setting  metric value``."""
    return Counter(re.findall(r"^(\S+  .+?)  (?:\S+) [01]\.\d{3}$", log, flags=re.MULTILINE))


@pytest.mark.parametrize("most", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_lose_nothing(bob: Any, tiny_plan: Path, most: int) -> None:
    started = time.monotonic()
    code, log = bob("run", str(tiny_plan), "--store", "whole")
    whole = time.monotonic() - started
    assert code == 0, log
    assert sum(computed(log).values()) == 9, log
    _, expected = bob("leaderboard", "--store", "whole", "--without-cost")

    chance, kills, number = random.Random(0), 0, 0
    while kills < most:
        where = ["--store", f"killed{number}", "--cache", f"cache{number}"]
        number, start, code = number + 1, bob.log.stat().st_size, -signal.SIGKILL
        while code == -signal.SIGKILL:  # the same command again, until one run comes to its end before its kill
            pid = bob.start("run", str(tiny_plan), *where)
            time.sleep(chance.uniform(0, whole))
            os.kill(pid, signal.SIGKILL)
            code = bob.wait(pid)
            kills += code == -signal.SIGKILL
        assert code == 0, bob.log.read_text()[-2000:]
        assert bob("leaderboard", "--store", where[1], "--without-cost")[1] == expected
        assert not list((bob.folder / where[1]).glob("quarantine/*"))
        cells = computed(bob.log.read_bytes()[start:].decode())
        assert set(cells.values()) <= {1}, "a cell was computed twice in one store"


def test_two_runs_at_once_share_the_work(bob: Any, tiny_plan: Path) -> None:
    pids = [bob.start("run", str(tiny_plan)) for _ in range(2)]
    assert [bob.wait(pid) for pid in pids] == [0, 0], bob.log.read_text()
    cells = computed(bob.log.read_text())
    assert len(cells) == 9
    assert set(cells.values()) == {1}
    _, together = bob("leaderboard", "--without-cost")
    bob("run", str(tiny_plan), "--store", "alone")
    assert bob("leaderboard", "--store", "alone", "--without-cost")[1] == together
