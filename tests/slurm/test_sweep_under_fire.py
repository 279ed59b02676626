"""The real-data plan on a cluster under fire: the board is that of one quiet process.

Features are those of the quiet run, so that what is tried is the sweep; a fifth of an hour on two cores else.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bob.sweep.roll import read_roll, sweep_folder
from results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

SCRIPT = Path(__file__).parents[3] / "shared" / "slurm" / "start-cluster"
PLAN = Path(__file__).parents[1] / "plans" / "real_data.yaml"
PROFILE = """
defaults: {partition: main, time_min: 2, cpus_per_task: 1}
setup: ["export OMP_NUM_THREADS=1"]
job_min: 1.5
signal_s: 20
parallel: 4
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bob.cli", *words]


def run_arguments(data: str, *more: str) -> list[str]:
    return ["run", str(PLAN), "--data-root", data, "--workers", "1", *more]


def board(folder: Path, store: str) -> str:
    words = command("leaderboard", "--store", store, "--without-cost")
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout


def jobs(name: str) -> list[str]:
    asked = ["squeue", "-r", "-h", "-n", name, "-t", "RUNNING", "-o", "%i"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


@contextmanager
def one_node_less(number: int) -> Iterator[None]:
    """This node is gone with its jobs, and back at the end."""
    environment = {**os.environ, "SLURM_TEST_DIR": str(Path(os.environ["SLURM_CONF"]).parent)}
    subprocess.run([SCRIPT, "crash-node", str(number)], env=environment, check=True)
    try:
        yield
    finally:
        subprocess.run([SCRIPT, "start", "--nodes", "4"], env=environment, check=True, capture_output=True)


def wait_for(what: Any, seconds: float, why: str) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, why
        time.sleep(0.5)
    return found


def test_the_board_is_that_of_one_quiet_process(cluster: Any, tmp_path: Path) -> None:
    data = os.environ.get("BOB_DATA")
    if data is None or not SCRIPT.exists():
        pytest.skip(f"needs real images in BOB_DATA, and {SCRIPT} that crashes a node")
    (tmp_path / "profile.yaml").write_text(PROFILE)
    quiet = subprocess.run(command(*run_arguments(data, "--store", "quiet")), cwd=tmp_path, check=False)
    assert quiet.returncode == 0
    words = command(*run_arguments(data, "--store", "fire"))
    words += ["--on", "slurm", "--profile", "profile.yaml", "--name", "fire"]
    chance, store = random.Random(0), tmp_path / "fire"
    with (tmp_path / "launcher.log").open("w") as log:
        first = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log)
        wait_for(lambda: len(jobs("fire")) >= 2 and Store(store).done_keys(), 900, "nothing is done")
        subprocess.run(["scancel", chance.choice(jobs("fire"))], check=True)
        wait_for(lambda: len(Store(store).done_keys()) >= 10, 900, "the sweep stands still after a job was cancelled")
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        with one_node_less(2):
            second = subprocess.run(words, cwd=tmp_path, stdout=log, stderr=log, check=False, timeout=1500)
    said = (tmp_path / "launcher.log").read_text()
    assert second.returncode == 0, said[-4000:]
    assert board(tmp_path, "fire") == board(tmp_path, "quiet")
    roll = read_roll(sweep_folder(store, "fire"))
    assert len(roll.cells) >= 60
    assert Store(store).done_keys() == {cell.key for cell in roll.cells}
    assert not Store(store).running(), "a claim has no owner"
    ends = "".join(path.read_text(errors="replace") for path in (store / "sweeps" / "fire" / "logs").glob("*.log"))
    done = Counter(re.findall(r"^== ([0-9a-f]{32}) done ==$", ends, flags=re.MULTILINE))
    assert set(done) == {cell.key for cell in roll.cells}
    assert set(done.values()) == {1}, "a cell was computed twice to its end"
    causes = Counter(each.cause for cell in roll.cells for each in Store(store).attempts(cell.key))
    print(f"{len(roll.cells)} cells; ends of attempts other than the records': {dict(causes)}")
    assert causes, "nothing was hit"
