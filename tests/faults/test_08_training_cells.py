"""Cases 7, 8, 10, 18 of ``bob run``: a stopped or killed training is gone on with, one that diverges is told."""

import csv
import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bob.interrupt import EXIT_REQUEUE
from tests.training_task import NAME, STEPS, install

ASKED = ("--backbones", "pixels", "--tasks", NAME, "--datasets", "digits")
OTHERS = (signal.SIGUSR1, signal.SIGINT)
"""Told apart by nothing but their name once a run has heard them, which the quick tests of signals look at."""
EVERY_STEP = ("--checkpoint-minutes", "0")


@pytest.fixture(autouse=True)
def training_task(tmp_path: Path) -> None:
    install(tmp_path)


def run(bob: Any, store: str, *options: str) -> int:
    return bob.start("run", *ASKED, "--store", store, *options)


def wait_for_steps(bob: Any, store: str, steps: int) -> Path:
    """The working folder, once so many steps are logged in it."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for log in (bob.folder / store).glob("work/*/logs/steps.csv"):
            if len(log.read_text().splitlines()) > steps:
                return log.parents[1]
        time.sleep(0.02)
    raise AssertionError(bob.log.read_text())


def outcome(bob: Any, store: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The one record of a store, and the CSV files beside it; its training left nothing else."""
    (path,) = (bob.folder / store).glob("cells/*/record.json")
    assert not list((bob.folder / store / "work").iterdir())
    logs = {each.name: each.read_bytes() for each in sorted(path.parent.glob("logs/*.csv"))}
    return json.loads(path.read_text()), logs


def whole(bob: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    code, log = bob("run", *ASKED, "--store", "whole")
    assert code == 0, log
    return outcome(bob, "whole")


def test_a_finished_training_leaves_its_logs_and_no_checkpoint(bob: Any) -> None:
    record, logs = whole(bob)
    assert len(logs["steps.csv"].splitlines()) == 1 + STEPS
    assert len(logs["epochs.csv"].splitlines()) == 1 + 3
    kept = {name for name in record["files"] if "tfevents" not in name}
    assert kept == {"logs/steps.csv", "logs/epochs.csv", "logs/curves.png"}
    assert "1 found done" in bob("run", *ASKED, "--store", "whole")[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.slow) for one in OTHERS)])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(bob: Any, number: signal.Signals) -> None:
    (bob.folder / "slow").touch()
    pid = run(bob, "stopped")
    folder = wait_for_steps(bob, "stopped", 10)
    os.kill(pid, number)
    asked = time.monotonic()
    assert bob.wait(pid) == EXIT_REQUEUE, bob.log.read_text()
    assert time.monotonic() - asked < 30
    assert list((folder / "checkpoints").iterdir())
    assert not list((bob.folder / "stopped").glob("cells/*"))
    assert not list((bob.folder / "stopped").glob("failures/*"))
    (bob.folder / "slow").unlink()
    assert bob.wait(run(bob, "stopped")) == 0, bob.log.read_text()
    record, logs = outcome(bob, "stopped")
    (resumed,) = record["notes"]["resumed"]
    assert resumed > 10
    uninterrupted, expected = whole(bob)
    assert record["notes"]["weights"] == uninterrupted["notes"]["weights"]
    assert record["scores"] == uninterrupted["scores"]
    assert logs == expected


def test_whoever_waits_for_a_claim_takes_over_from_a_dead_holder(bob: Any) -> None:
    (bob.folder / "slow").touch()
    holder = run(bob, "shared", *EVERY_STEP)
    folder = wait_for_steps(bob, "shared", 4)
    waiting = run(bob, "shared", *EVERY_STEP)
    wait_for_steps(bob, "shared", 8)
    os.kill(holder, signal.SIGKILL)
    assert bob.wait(holder) == -signal.SIGKILL
    assert folder.exists()
    (bob.folder / "slow").unlink()
    assert bob.wait(waiting) == 0, bob.log.read_text()
    record, logs = outcome(bob, "shared")
    (resumed,) = record["notes"]["resumed"]
    assert resumed > 4
    uninterrupted, expected = whole(bob)
    assert record["notes"]["weights"] == uninterrupted["notes"]["weights"]
    assert logs == expected


def test_a_diverging_training_is_a_failure_with_its_step(bob: Any) -> None:
    (bob.folder / "plan.yaml").write_text(
        f"backbones: [pixels]\ntasks:\n  - {{task: {NAME}, dataset: digits}}\n"
        f"  - {{task: {NAME}, dataset: digits, learning_rate: 1.0e+6}}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 1, log
    assert "1 cells computed" in log
    assert "1 failed" in log
    assert "diverged" in log
    lines = list(csv.DictReader(io.StringIO(bob("leaderboard", "--format", "csv")[1])))
    told = {line["status"]: line["failure"] for line in lines}
    assert told.keys() == {"done", "diverged"}
    assert told["diverged"].startswith("diverged at step ")
    assert {line["failed_settings"] for line in lines} == {"1"}
    assert "1 failed before" in bob("plan", "plan.yaml")[1]


def test_how_it_is_run_is_in_no_key(bob: Any) -> None:
    """Every option of a run that changes no number finds what was computed without it."""
    whole(bob)
    options = "--device cpu --workers 2 --devices 2 --strategy ddp --device-batch 2 --gradient-checkpointing --compile"
    code, log = bob("run", *ASKED, "--store", "whole", *options.split(), *EVERY_STEP)
    assert code == 0, log
    assert "0 cells computed, 1 found done" in log
