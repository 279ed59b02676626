"""A fine-tuning cell on two nodes, in touch over gloo, comes to the number of one process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

PLAN = """
backbones: ["random:timm:test_vit"]
tasks:
  - {task: classification.finetune, dataset: digits, epochs: 2, global_batch: 64, trials: 1, head: xavier}
"""
PROFILE = """
defaults: {partition: main, time_min: 10, cpus_per_task: 1}
tasks:
  classification.finetune: {nodes: 2, tasks_per_node: 1}
setup: ["export OMP_NUM_THREADS=1"]
"""


def run(folder: Path, *words: str) -> None:
    arguments = [sys.executable, "-m", "bob.cli", "run", "plan.yaml", "--device", "cpu", "--workers", "1", *words]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_two_nodes_give_the_number_of_one_process(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "profile.yaml").write_text(PROFILE)
    run(tmp_path, "--store", "alone")
    run(tmp_path, "--store", "together", "--on", "slurm", "--profile", "profile.yaml")
    (alone,), (together,) = (Store(tmp_path / name).records() for name in ("alone", "together"))
    assert alone.key == together.key
    assert together.provenance.job
    answers = [Store(tmp_path / name).outputs(alone.key).column("prediction") for name in ("alone", "together")]
    assert (np.asarray(answers[0]) == np.asarray(answers[1])).mean() > 0.999
    for metric in ("top1", "nll", "ece"):
        one, other = (next(row.value for row in each.scores if row.metric == metric) for each in (alone, together))
        assert one == pytest.approx(other, abs=1e-3), metric
