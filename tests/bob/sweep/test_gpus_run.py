"""A plan on the GPUs of this machine, interrupted and gone on with. They are pretended; the cells compute without."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bob.interrupt import EXIT_REQUEUE
from results.store import Store

SLOW = """
import time
class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.2)
        return x
"""


@pytest.mark.slow
def test_a_plan_that_is_interrupted_and_run_again(tmp_path: Path, tiny_plan: Path) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '0, GPU-aa11, 81920, 1024'\necho '1, GPU-bb22, 24576, 0'\n")
    program.chmod(0o755)
    mine = tmp_path / "mine.py"
    mine.write_text(mine.read_text().replace("nn.Flatten()", "nn.Flatten(), Slow()") + SLOW)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "bob.cli", "run", str(tiny_plan), "--on", "gpus", "--store", "store"]
    store = Store(tmp_path / "store")
    log = tmp_path / "bob.log"

    @contextmanager
    def running() -> Iterator["subprocess.Popen[bytes]"]:
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT, process_group=0
        ) as process:
            try:
                yield process
            finally:
                process.kill()  # its jobs end with it

    with running() as first:
        deadline = time.monotonic() + 200
        while not store.running() or not store.done_keys():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does
        workers = {attempt.pid for attempt, _ in store.running()}
        assert first.wait(60) == EXIT_REQUEUE, log.read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    kept = store.done_keys()
    assert len(kept) < 9
    with running() as again:
        assert again.wait(200) == 0, log.read_text()
    assert f"{9 - len(kept)} cells computed, {len(kept)} found done, 0 not applicable, 0 failed" in log.read_text()
