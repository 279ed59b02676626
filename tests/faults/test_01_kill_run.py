"""Case 1: kill -9 of a run at random moments; the board is that of an uninterrupted run, no cell computed twice."""

import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

KILLS = 50


def computed(log: str) -> Counter[str]:
    """Cells a log says were computed: a line each, ``backbone  setting  metric value``."""
    return Counter(re.findall(r"^(\S+  .+?)  (?:\S+) [01]\.\d{3}$", log, flags=re.MULTILINE))


def test_fifty_kills_lose_nothing(bob: Any, tiny_plan: Path) -> None:
    code, log = bob("run", str(tiny_plan), "--store", "whole")
    assert code == 0, log
    assert sum(computed(log).values()) == 9, log
    _, expected = bob("leaderboard", "--store", "whole", "--without-cost")

    chance = random.Random(0)
    start, lost = bob.log.stat().st_size, 0
    for number in range(KILLS):
        # Every fifth time with a new cache and store in sight of the end, so that all stages are hit.
        where = ["--store", f"killed{number // 10}", "--cache", f"cache{number // 10}"]
        pid = bob.start("run", str(tiny_plan), *where)
        time.sleep(chance.uniform(0.05, 1.6))
        os.kill(pid, signal.SIGKILL)
        lost += bob.wait(pid) == -signal.SIGKILL
        _, board = bob("leaderboard", "--store", where[1], "--without-cost")
        assert "Traceback" not in board
    assert lost > KILLS / 2, "most runs must have been killed before their end for this to test anything"

    for store in range(KILLS // 10):
        code, log = bob("run", str(tiny_plan), "--store", f"killed{store}", "--cache", f"cache{store}")
        assert code == 0, log
        _, board = bob("leaderboard", "--store", f"killed{store}", "--without-cost")
        assert board == expected
        assert not list((bob.folder / f"killed{store}").glob("quarantine/*"))
    whole_log = bob.log.read_bytes()[start:].decode()
    assert max(computed(whole_log).values()) <= KILLS // 10, "a cell was computed twice in one store"


def test_two_runs_at_once_share_the_work(bob: Any, tiny_plan: Path) -> None:
    pids = [bob.start("run", str(tiny_plan)) for _ in range(2)]
    assert [bob.wait(pid) for pid in pids] == [0, 0], bob.log.read_text()
    cells = computed(bob.log.read_text())
    assert len(cells) == 9
    assert set(cells.values()) == {1}
    _, together = bob("leaderboard", "--without-cost")
    bob("run", str(tiny_plan), "--store", "alone")
    assert bob("leaderboard", "--store", "alone", "--without-cost")[1] == together
