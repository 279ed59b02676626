"""Case 8: a signal to a training keeps the last whole step within seconds, and the exception goes on its way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from backbones.training.checkpoint import Checkpoints
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.patience import Patience
from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly
from tests.training_fakes import RECIPE, Memory, digest, drifting_sum, tiny_convolutions, tiny_vit

CHILD = """
import sys, time
from pathlib import Path
from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly
from tests.training_fakes import slow_training
if __name__ == "__main__":
    try:
        with stop_cleanly():
            slow_training(Path(sys.argv[1]), int(sys.argv[2]))
    except Interrupted as error:
        print("interrupted by", error, flush=True)
        sys.exit(EXIT_REQUEUE)
"""


def train(folder: Path | None, **hooks: Any) -> str:
    trainee = tiny_convolutions()
    execution = Execution(device="cpu", workers=0, device_batch=4, folder=folder)
    stream = Memory(item=hooks.pop("item", None))
    return digest(fit(trainee, stream, RECIPE, execution, 3, evaluate=drifting_sum, **hooks), trainee)


def signal_at(call: int, number: signal.Signals) -> Any:
    calls = 0

    def hook(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), number)
        return arguments[-1]

    return hook


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("moment", ["item", "log"])
def test_the_first_signal_keeps_a_whole_step(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    expected = train(None)
    with pytest.raises(Interrupted, match=number.name), stop_cleanly():
        train(tmp_path, **{moment: signal_at(17 if moment == "item" else 2, number)})
    kept = Checkpoints(tmp_path / "checkpoints", 2).latest()
    assert kept is not None
    assert kept.step == (1 if moment == "item" else 3)  # log hears of a step when the next one has been made
    assert train(tmp_path) == expected


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_child_process_is_stopped_within_seconds(tmp_path: Path, devices: int) -> None:
    """Sent at a random moment to a training that would take minutes; of two devices, to the process that waits."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(devices)], stdout=subprocess.PIPE, text=True
    )
    started, deadline = tmp_path / "started", time.monotonic() + 120
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started.exists()
    time.sleep(0.7)
    child.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    output, _ = child.communicate(timeout=60)
    seconds = time.monotonic() - begun
    assert child.returncode == EXIT_REQUEUE, output
    assert "SIGTERM" in output
    assert seconds < 10
    kept = Checkpoints(tmp_path / "checkpoints", 2).latest()
    assert kept is not None
    assert kept.step >= 1


def test_a_second_signal_passes_at_once() -> None:
    patience, after = Patience(), []

    def insist() -> None:
        with stop_cleanly(), patience.held():
            os.kill(os.getpid(), signal.SIGINT)
            after.append("first")
            os.kill(os.getpid(), signal.SIGINT)
            after.append("second")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        insist()
    assert after == ["first"]
    assert patience.hurried
    assert signal.getsignal(signal.SIGINT) is before


def test_a_hurried_training_writes_nothing(tmp_path: Path) -> None:
    class Insisting(Memory):
        def batch(self, items: Any, step: int, device: Any) -> Any:  # within a held micro-batch
            if step == 1:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            return super().batch(items, step, device)

    execution = Execution(device="cpu", workers=0, folder=tmp_path)
    with pytest.raises(Interrupted), stop_cleanly():
        fit(tiny_vit(), Insisting(), RECIPE, execution, 3)
    assert not (tmp_path / "checkpoints").exists()


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with Patience().held():
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
