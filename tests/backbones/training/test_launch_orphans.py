"""Processes that train together end when the one that started them is killed without a word."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PARENT = """
import multiprocessing, sys, time
from pathlib import Path
from backbones.training.launch import _work
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(0, 1, Path(sys.argv[1]), theirs))
    process.start()
    print(process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_they_end_with_their_parent(tmp_path: Path) -> None:
    """What it is given to train is a pipe into which nobody writes, so it waits for ever."""
    luggage, script = tmp_path / "job.pickle", tmp_path / "parent.py"
    os.mkfifo(luggage)
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script), str(luggage)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        state = Path(f"/proc/{int(parent.stdout.readline())}/stat")
        with open(until(lambda: reader(luggage), 120), "wb"):
            assert state.exists()
            parent.kill()
            until(lambda: not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z", 10)


def reader(pipe: Path) -> int | None:
    """A descriptor to write into the pipe, once somebody waits at its other end."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def until(value: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := value()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found
