"""What many tests need: ``bob`` as a process of its own started in milliseconds, a tiny plan, small records."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from results.record import BackboneFacts, Cell, Cost, Failure, Identity, Provenance, Record, ScoreRow

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of several of them, each waiting for its own in a loop, would take them away.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

SERVER = """
import json, os, signal, sys, traceback
import torch, timm, torchvision, sklearn.linear_model, pandas, pyarrow.parquet, lightning_fabric, matplotlib.figure
import bob.cli, bob.gauntlet, bob.plan, bob.progress, results.board
print("ready", flush=True)
for line in sys.stdin:
    ask = json.loads(line)
    if "wait" in ask:
        print(os.waitstatus_to_exitcode(os.waitpid(ask["wait"], 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
        code = 70
        try:
            os.chdir(ask["folder"])
            log = os.open(ask["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            sys.argv = ["bob", *ask["arguments"]]
            bob.cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(pid, flush=True)
"""


class Bob:
    """Starts and waits for ``bob`` commands in a folder; what they print goes to ``log``."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self.server, self.folder = server, folder
        self.log = folder / "bob.log"

    def start(self, *arguments: str) -> int:
        """Begin a command; its process id."""
        return self._ask({"arguments": arguments, "folder": str(self.folder), "log": str(self.log)})

    def wait(self, pid: int) -> int:
        """The exit code; minus the signal's number where one ended it."""
        return self._ask({"wait": pid})

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run a command to its end: exit code, and what it printed."""
        before = self.log.stat().st_size if self.log.exists() else 0
        code = self.wait(self.start(*arguments))
        return code, self.log.read_bytes()[before:].decode()

    def until(self, words: str, seconds: float = 120.0) -> None:
        """Wait till a command that was started has printed these words."""
        deadline = time.monotonic() + seconds
        while words not in (self.log.read_text() if self.log.exists() else ""):
            assert time.monotonic() < deadline, f"{words!r} was not printed in {seconds:g} s"
            time.sleep(0.02)

    def _ask(self, question: dict[str, object]) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


@pytest.fixture(scope="session")
def bob_server() -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "COLUMNS": "160", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield server
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture
def bob(bob_server: "subprocess.Popen[str]", tmp_path: Path) -> Bob:
    """``bob`` in an empty folder."""
    return Bob(bob_server, tmp_path)


@pytest.fixture
def tiny_backbones(tmp_path: Path) -> list[str]:
    """Two backbones of a user's own file, fast enough for tests that run the gauntlet many times."""
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "PREPROCESS = dict(size=(16, 16), resize=16, crop='center', interpolation='bilinear',\n"
        "                  mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))\n"
        "def _build(seed):\n"
        "    torch.manual_seed(seed)\n"
        "    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())\n"
        "def one(): return _build(1)\n"
        "def two(): return _build(2)\n"
    )
    return ["file:mine.py:one", "file:mine.py:two"]


@pytest.fixture
def tiny_plan(tmp_path: Path, tiny_backbones: list[str]) -> Path:
    """A plan of 3 backbones x 3 questions that a process computes in about a second."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"backbones: [pixels, {', '.join(tiny_backbones)}]\n"
        "tasks:\n"
        "  - {task: classification.knn, dataset: digits}\n"
        "  - {task: classification.knn, dataset: digits, k: 5}\n"
        "  - {task: retrieval, dataset: 'digits#retrieval'}\n"
    )
    return plan


def make_record(
    backbone: str = "timm:one",
    value: float = 0.5,
    task: str = "retrieval",
    seed: int = 0,
    failed: bool = False,
    version: int = 1,
    created: str = "2026-01-01T00:00:00+00:00",
    baseline: bool = False,
    higher_is_better: bool = True,
    **changes: Any,
) -> Record:
    """A record whose key follows from what makes it different."""
    cell = Cell(backbone=backbone, task=task, datasets={"dataset": ["digits"]}, seed=seed)
    score = ScoreRow(
        metric="mAP",
        split="test",
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        n=100,
        higher_is_better=higher_is_better,
    )
    fields: dict[str, Any] = {
        "key": Cell(backbone=f"{backbone}{version}{created}{value}", task=task, datasets={}, seed=seed).address(),
        "status": "failed" if failed else "done",
        "cell": cell,
        "identity": Identity(
            weights_sha256="0", manifests={"digits": "1"}, protocol_version=version, precision="float32"
        ),
        "backbone": BackboneFacts(
            family="random" if baseline else "supervised", baseline=baseline, architecture="a", parameters=1_000_000,
            pretraining_method="m", pretraining_data="d", licence="mit", source="s", revision="r",
        ),
        "headline": "mAP",
        "scores": [] if failed else [score],
        "cost": Cost(seconds=1.0, images_per_second=100.0),
        "error": Failure(kind="ValueError", message="broken", traceback="...") if failed else None,
        "provenance": Provenance(
            created=created, bob_version="0", commit="c", python="3", packages={}, hardware={}, command="bob run"
        ),
    }  # fmt: skip
    return Record(**{**fields, **changes})


@pytest.fixture
def make() -> Callable[..., Record]:
    return make_record
