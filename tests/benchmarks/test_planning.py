"""Planning 100,000 cells: resolved, keyed, and held against a store that has answered most of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_planning_100_000_cells(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.planning", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"\nresolve {found['resolve_s']:.2f} s, states {found['states_s']:.2f} s, peak {found['peak_mb']:.0f} MB")
    assert found["counts"] == {"done": 60_000, "failed before": 500, "stale": 200, "to do": 39_300}
    assert found["resolve_s"] + found["states_s"] < 5
    assert found["peak_mb"] < 1000
