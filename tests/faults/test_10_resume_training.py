"""Case 10: a training stopped anywhere and gone on with ends with the very bits of one that was never stopped."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.recipe import Recipe
from tests.training_fakes import RECIPE, Memory, digest, drifting_sum, tiny_convolutions, tiny_vit

KILLS = 8
SERVER = """
import os, signal, sys, time
from pathlib import Path
from tests.training_fakes import train_to_file
print("ready", flush=True)
for line in sys.stdin:
    seconds, folder, result, trainee = line.split()
    child = os.fork()
    if child == 0:
        train_to_file(Path(folder), Path(result), trainee)
        os._exit(0)
    if float(seconds) < 60:
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)  # its own child, not yet waited for: the number is still that child's
    os.waitpid(child, 0)
    print("over", flush=True)
"""


class StoppedError(Exception):
    pass


def train(trainee: Any, folder: Path | None, recipe: Recipe = RECIPE, **hooks: Any) -> str:
    execution = Execution(device="cpu", workers=0, device_batch=4, folder=folder, checkpoint_minutes=1000.0)
    stream = Memory(item=hooks.pop("item", None))
    fitted = fit(trainee, stream, recipe, execution, 3, evaluate=hooks.pop("evaluate", drifting_sum), **hooks)
    assert len(fitted.notes.get("resumed", [])) == (folder is not None)
    return digest(fitted, trainee)


def stop_at(call: int) -> Any:
    """Something that passes its first argument on, and stops the training at one of its calls."""
    calls = 0

    def passing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise StoppedError
        return arguments[-1]

    return passing


def stop_before_evaluation(call: int) -> Any:
    stop = stop_at(call)

    def evaluate(model: Any) -> dict[str, float]:
        stop(model)
        return drifting_sum(model)

    return evaluate


MOMENTS: dict[str, Any] = {
    "before the first step": {"item": 1},
    "in the first micro-batch of a step": {"item": 13},
    "in the last micro-batch of a step": {"item": 24},
    "in the first step of an epoch": {"item": 40},
    "after a step": {"log": 2},
    "after an epoch": {"log": 4},
    "before an evaluation": {"evaluate": 2},
    "before the last evaluation": {"evaluate": 3},
    "after everything": {"log": 12},
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("make", [lambda: tiny_vit(drop_path=0.2), tiny_convolutions], ids=["vit", "convolutions"])
def test_stopped_and_gone_on_with(tmp_path: Path, make: Any, moment: str) -> None:
    expected = train(make(), None)
    ((hook, call),) = MOMENTS[moment].items()
    stopping = {hook: stop_before_evaluation(call) if hook == "evaluate" else stop_at(call)}
    with pytest.raises(StoppedError):
        train(make(), tmp_path, **stopping)
    assert train(make(), tmp_path) == expected


@pytest.mark.parametrize("optimiser", ["sgd", "lars", "muon"])
def test_every_optimiser_goes_on(tmp_path: Path, optimiser: Any) -> None:
    recipe = Recipe(epochs=2, global_batch=12, warmup_epochs=1, optimiser=optimiser, nesterov=True)
    expected = train(tiny_vit(), None, recipe)
    with pytest.raises(StoppedError):
        train(tiny_vit(), tmp_path, recipe, log=stop_at(3))
    assert train(tiny_vit(), tmp_path, recipe) == expected


def test_float16_goes_on_with_its_scaler(tmp_path: Path) -> None:
    """Gradients so large that the first steps overflow at a scale of 65536: the scale it found is part of the state."""
    recipe = Recipe(epochs=3, global_batch=12, warmup_epochs=1)

    def run(folder: Path | None, log: Any = None) -> str:
        trainee = tiny_convolutions()
        trainee.loudness = 1e3
        execution = Execution(
            device="cpu", workers=0, precision="float16", device_batch=4, folder=folder, checkpoint_minutes=1000.0
        )
        return digest(fit(trainee, Memory(), recipe, execution, 3, log=log), trainee)

    expected = run(None)
    with pytest.raises(StoppedError):
        run(tmp_path, stop_at(4))
    scale = next((tmp_path / "checkpoints").glob("step-*/checkpoint.json")).read_text()
    assert '"scale": 65536.0' not in scale
    assert run(tmp_path) == expected


@pytest.mark.parametrize("trainee", [pytest.param("vit", marks=pytest.mark.slow), "convolutions"])
def test_killed_at_random_moments(tmp_path: Path, trainee: str) -> None:
    """kill -9, again and again, until the training gets through. A fork server, as importing torch takes seconds."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    def run(seconds: float, folder: Path, result: Path) -> float:
        begun = time.monotonic()
        server.stdin.write(f"{seconds} {folder} {result} {trainee}\n")
        assert server.stdout.readline() == "over\n"
        return time.monotonic() - begun

    whole = run(60, tmp_path / "whole", tmp_path / "expected")
    chance, killed, resumed = random.Random(0), 0, 0
    for repeat in range(KILLS):
        folder, result = tmp_path / f"killed {repeat % 4}".replace(" ", "-"), tmp_path / f"result-{repeat % 4}"
        resumed += (folder / "checkpoints").exists()
        run(chance.uniform(0, whole), folder, result)
        killed += not result.exists()
    assert killed
    assert resumed
    for result in (tmp_path / f"result-{index}" for index in range(4)):
        if not result.exists():
            run(60, tmp_path / result.name.replace("result", "killed"), result)
        assert result.read_text() == (tmp_path / "expected").read_text()
    server.stdin.close()
    assert server.wait() == 0
