"""The sample plug-in of docs/ is built, installed and used: a backbone, a task and a dataset without a fork."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "docs" / "sample_plugin"
ADDED = {"backbones": "sample:...", "tasks": "sample.class_means", "datasets": "sample_tints"}


def bob(folder: Path, *arguments: str, site: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(site or ""), "COLUMNS": "160"}
    command = [sys.executable, "-c", "from bob.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder the built package was installed into, and nothing else."""
    uv = shutil.which("uv") or os.environ.get("UV", "uv")
    source, target = tmp_path_factory.mktemp("source") / "sample", tmp_path_factory.mktemp("site")
    shutil.copytree(SAMPLE, source)
    # uv is itself the package's build backend, so nothing is fetched.
    command = [uv, "pip", "install", "--offline", "--no-deps", "--python", sys.executable, "--target", target, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_installed_package_is_listed(tmp_path: Path, site: Path) -> None:
    for kind, name in ADDED.items():
        listed = bob(tmp_path, "list", kind, site=site).stdout.splitlines()
        assert any(line.startswith(f"{name} ") and "from bob-sample" in line for line in listed), listed


def test_without_the_package_nothing_of_it_is_there(tmp_path: Path) -> None:
    for kind, name in ADDED.items():
        done = bob(tmp_path, "list", kind)
        assert done.returncode == 0, done.stderr
        assert name not in done.stdout


def test_a_run_with_all_three(tmp_path: Path, site: Path) -> None:
    asked = ["--backbones", "sample:1", "pixels", "--tasks", "sample.class_means", "classification.knn"]
    done = bob(tmp_path, "run", *asked, "--datasets", "sample_tints", "--seeds", "0", "1", site=site)
    assert done.returncode == 0, done.stderr + done.stdout
    # The tints have no val, so the seed decides what the class means learn from; neighbours vote with all there is.
    assert "6 cells computed" in done.stdout, done.stdout
    assert "sample.class_means sample_tints" in done.stdout
    assert "sample:1" in done.stdout
