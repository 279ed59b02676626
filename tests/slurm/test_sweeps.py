"""Whole sweeps by the command line: on a cluster, and on the GPUs of a machine that has none but says it had."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bob.cli import app
from bob.sweep.code import PACKAGES
from bob.sweep.roll import read_roll, sweep_folder
from results.store import Store
from tests.napping import make_site

ROOT = Path(__file__).parents[2]
PROFILE = """
defaults: {partition: main, time_min: 5, cpus_per_task: 1}
setup: ["export OMP_NUM_THREADS=1"]
job_min: 1
signal_s: 60
"""


def plan_of(folder: Path, seeds: int, **settings: Any) -> Path:
    told = ", ".join(f"{name}: {value}" for name, value in {"seconds": 0.01, **settings}.items())
    (folder / "plan.yaml").write_text(
        f"backbones: [pixels]\ntasks: [{{task: nap, dataset: digits, {told}}}]\nseeds: {list(range(seeds))}\n"
    )
    (folder / "profile.yaml").write_text(PROFILE)
    return folder / "plan.yaml"


class Line:
    """Runs ``bob`` as a person does, with the task ``nap``."""

    def __init__(self, folder: Path, code: Path = ROOT) -> None:
        self.folder = folder
        path = os.pathsep.join([str(make_site(folder / "site")), str(code)])
        self.environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "COLUMNS": "160"}
        self.environment["OMP_NUM_THREADS"] = "1"

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "bob.cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def __call__(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


SLURM = ["run", "plan.yaml", "--on", "slurm", "--profile", "profile.yaml"]


@pytest.mark.cluster
@pytest.mark.slow
def test_what_dies_and_what_fails_stop_no_other(cluster: Any, line: Line) -> None:
    """Of six cells one kills its process each time and one raises: four are done, and people are told of two."""
    plan_of(line.folder, 6, dies_below=1, fails_below=2)
    code, said = line(*SLURM)
    assert code == 1, said
    assert "4 cells computed, 0 found done, 0 not applicable, 2 failed" in said, said
    store = Store(line.folder / "outputs/store")
    listed = read_roll(sweep_folder(store.root, "plan")).cells
    died, failed = (store.attempts(cell.key) for cell in listed[:2])
    assert [each.cause for each in died] == ["killed", "killed", "killed", "killed"]
    assert all("SIGKILL" in each.message and each.job and each.node.startswith("127.") for each in died[:3])
    assert [(each.cause, each.message) for each in failed] == [("error", "seed 1 is not to be woken")]
    assert not store.running()
    again, said = line(*SLURM)
    assert again == 1
    assert "0 cells computed, 4 found done, 0 not applicable, 2 failed" in said, said


@pytest.mark.cluster
@pytest.mark.slow
def test_out_of_memory_is_tried_again_with_less(cluster: Any, line: Line) -> None:
    plan_of(line.folder, 2, halvings=2)
    code, said = line(*SLURM)
    assert code == 0, said
    store = Store(line.folder / "outputs/store")
    for cell in read_roll(sweep_folder(store.root, "plan")).cells:
        assert [each.cause for each in store.attempts(cell.key)] == ["out of memory", "out of memory", "done"]


@pytest.mark.cluster
def test_a_partition_that_is_not_there(cluster: Any, line: Line) -> None:
    plan_of(line.folder, 2)
    (line.folder / "profile.yaml").write_text(PROFILE.replace("main", "mian"))
    code, said = line(*SLURM)
    assert code == 2, said
    assert "mian" in said
    assert "invalid partition specified" in said, "in SLURM's own words"
    assert "Traceback" not in said
    queue = subprocess.run(["squeue", "-h", "-n", "plan"], capture_output=True, text=True, check=True).stdout
    assert queue == ""
    jobs = line.folder / "outputs/store/sweeps/plan/jobs"
    assert not list(jobs.rglob("*.pkl")), "what was refused leaves nothing"


@pytest.mark.cluster
@pytest.mark.slow
def test_code_that_changes_while_cells_are_queued(cluster: Any, tmp_path: Path) -> None:
    """The checkout is broken between submission and start: jobs run what was submitted, and the record says so."""
    checkout = tmp_path / "checkout"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    line = Line(tmp_path, checkout)
    plan_of(tmp_path, 2)
    subprocess.run(["scontrol", "update", "PartitionName=main", "State=DOWN"], check=True)
    try:
        launcher = line.start(*SLURM)
        journal = tmp_path / "outputs/store/sweeps/plan/journal.jsonl"
        end = time.monotonic() + 120
        while not (journal.exists() and '"job"' in journal.read_text()):
            assert time.monotonic() < end
            time.sleep(0.2)
        (checkout / "bob" / "gauntlet.py").write_text("raise SyntaxError('half edited')\n")
    finally:
        subprocess.run(["scontrol", "update", "PartitionName=main", "State=UP"], check=True)
    said, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, said
    store = Store(tmp_path / "outputs/store")
    (code,) = {record.provenance.code for record in store.records()}
    assert [folder.name for folder in (store.root / "code").iterdir()] == [code]
    assert code == read_roll(sweep_folder(store.root, "plan")).code


@pytest.mark.slow
def test_cells_share_the_gpus_of_a_machine(line: Line) -> None:
    tools = line.folder / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho '0, GPU-a, 80000, 10'; echo '1, GPU-b, 80000, 10'\n")
    (tools / "nvidia-smi").chmod(0o755)
    line.environment["PATH"] = f"{tools}:{line.environment['PATH']}"
    line.environment.pop("CUDA_VISIBLE_DEVICES", None)
    plan_of(line.folder, 4)
    code, said = line("run", "plan.yaml", "--on", "gpus", "--device", "cpu")
    assert code == 0, said
    assert "4 cells computed" in said
    assert {record.provenance.code for record in Store(line.folder / "outputs/store").records()}
    assert json.loads((line.folder / "outputs/store/sweeps/plan/place.json").read_text())["place"] == "gpus"


def here(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    """In this process, beside the plan."""
    monkeypatch.chdir(Path(words[1]).parent)
    return CliRunner().invoke(app, list(words))


def test_a_machine_without_gpus_says_so(tiny_plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tiny_plan.parent))
    place = tiny_plan.parent / "outputs/store/sweeps/plan/place.json"
    place.parent.mkdir(parents=True)
    place.write_text("where its jobs are")
    result = here(monkeypatch, "run", str(tiny_plan), "--on", "gpus")
    assert result.exit_code == 2, result.output
    assert "no GPU is seen here" in result.output
    assert place.read_text() == "where its jobs are", "bob cancel has to find them"


def test_a_store_that_cannot_be_written(tiny_plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a file here: root may write what is read-only."""
    (tiny_plan.parent / "store").write_text("")
    result = here(monkeypatch, "run", str(tiny_plan), "--on", "slurm", "--store", "store/inside")
    assert result.exit_code in (1, 2), result.output
    assert "store/inside" in result.output
    assert not (tiny_plan.parent / "store").is_dir()


RACE = """
racing: true
backbones: ["random:timm:test_vit"]
tasks:
  - task: classification.finetune
    dataset: digits
    epochs: 2
    global_batch: 64
    trials: 3
    head: xavier
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_a_search_is_raced_across_nodes(cluster: Any, line: Line) -> None:
    """Three jobs, one cell: the number, and what was tried, are those of one process."""
    plan_of(line.folder, 1)
    (line.folder / "plan.yaml").write_text(RACE)
    here = ["run", "plan.yaml", "--device", "cpu", "--workers", "1"]
    code, said = line(*here, "--store", "alone")
    assert code == 0, said
    code, said = line(*here, "--on", "slurm", "--profile", "profile.yaml", "--store", "raced")
    assert code == 0, said
    assert "submitted 3 units in 3 jobs" in said, said
    (alone,), (raced,) = (Store(line.folder / name).records() for name in ("alone", "raced"))
    assert alone.key == raced.key
    assert [row.value for row in alone.scores] == pytest.approx([row.value for row in raced.scores], abs=1e-6)
    assert alone.notes["trials"] == raced.notes["trials"]
    assert len(raced.notes["trials"]) >= 3
