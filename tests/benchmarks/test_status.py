"""``bob status`` of 100,000 cells, as a process: the first time, while the index fills, and when it is there."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bob.sweep.roll import Listed, ListedQuestion, Roll, sweep_folder
from results.attempts import Attempt
from results.index import INDEX

pytestmark = pytest.mark.slow
CELLS, DONE, FAILED, RUNNING = 100_000, 60_000, 500, 200


def write_sweep(root: Path, make: Any) -> None:
    """100 backbones, 20 questions, 50 seeds; its records are as large as those of a real plan."""
    generator = random.Random(0)
    cells = [Listed(f"{generator.getrandbits(128):032x}", i % 100, i // 100 % 20, i // 2000) for i in range(CELLS)]
    backbones = tuple(f"timm:backbone_{number:03}.augreg_in21k_ft_in1k" for number in range(100))
    questions = tuple(ListedQuestion(f"task{number % 4}", f"task{number % 4} set{number}", {}) for number in range(20))
    roll = Roll("big", "plan.yaml", "2026-01-01T00:00:00+00:00", "0", {}, backbones, questions, tuple(cells))
    roll.write(sweep_folder(root, "big"))
    generator.shuffle(cells)
    record = make(notes={f"note{number}": "x" * 60 for number in range(30)}).to_json()
    key = record.split('"key": "')[1][:32]
    for cell in cells[:DONE]:
        folder = root / "cells" / cell.key
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(record.replace(key, cell.key))
    for cell in cells[DONE : DONE + FAILED]:
        write_attempt(root, cell.key, cause="error", tail="line\n" * 50)
    for cell in cells[DONE + FAILED : DONE + FAILED + RUNNING]:
        path = write_attempt(root, cell.key)
        (root / "claims").mkdir(exist_ok=True)
        os.link(path, root / "claims" / f"{cell.key}.{'0' * 16}.json")


def write_attempt(root: Path, key: str, **facts: Any) -> Path:
    stated = {"key": key, "number": 1, "token": "0" * 16, "started": "2026-01-01T00:00:00+00:00", "node": "node1"}
    attempt = Attempt(**{**stated, "machine": "another", "pid": 7, **facts})
    path = root / "attempts" / key / "000001.json"
    path.parent.mkdir(parents=True)
    path.write_text(attempt.model_dump_json())
    return path


def measured(root: Path) -> tuple[float, float, str]:
    """Seconds, peak memory in MB, and what was printed."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "bob.cli", "status", "--store", str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return time.perf_counter() - started, usage.ru_maxrss / 1024, printed


def test_status_of_100_000_cells(tmp_path: Path, make: Any) -> None:
    write_sweep(tmp_path, make)
    for turn in range(12):
        seconds, peak_mb, printed = measured(tmp_path)
        spent = next(line for line in printed.splitlines() if line.startswith("spent"))
        size_mb = (tmp_path / INDEX).stat().st_size / 1e6
        print(f"\nlook {turn}: {seconds:.2f} s, {peak_mb:.0f} MB, index {size_mb:.0f} MB, {spent}")
        assert "100,000 cells: 60,000 done, 200 running, 39,300 waiting, 500 failed" in printed
        assert seconds < 5
        assert peak_mb < 1000
        if "is being read" not in spent:
            return
    raise AssertionError("the index was not whole after 12 looks")
