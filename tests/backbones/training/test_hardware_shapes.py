"""The same number on any hardware: processes, sharding and accumulation share a global batch and change no weight."""

import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor, nn

from backbones.training.execution import Execution
from backbones.training.job import Job
from backbones.training.launch import _Processes
from backbones.training.loop import fit
from backbones.training.outcomes import Fitted
from tests.training_fakes import SHAPES_RECIPE, Memory, Misweighted, drifting_sum, tiny_convolutions, tiny_vit

TOLERANCE = 1e-9
"""In float64, where 20 steps of AdamW of 3e-3 are made. Sums in another order change a gradient by about 1e-16 of the
terms it is summed from (here below 1), and AdamW divides by sqrt(v) + 1e-8: at worst, where a gradient is zero but for
that error, an update changes by 3e-3 x 1e-16 / 1e-8 = 3e-11, and 20 of them by 6e-10."""

SHAPES: dict[str, dict[str, Any]] = {
    "accumulation": {"device_batch": 4},
    "two processes": {"devices": 2},
    "two processes, accumulation": {"devices": 2, "device_batch": 2},
    "two processes, sharded": {"devices": 2, "strategy": "fsdp", "device_batch": 4},
}


def run(model: Any, **how: Any) -> Fitted:
    execution = Execution(device="cpu", workers=0, **how)
    return fit(model, Memory(), SHAPES_RECIPE, execution, 5, evaluate=drifting_sum)


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    """On one process, the whole batch at once."""
    model = tiny_vit().double()
    before = weights(model)
    fitted = run(model)
    assert fitted.steps == 20
    assert difference(before, weights(model)) > 0.01
    return both(model, fitted)


@pytest.mark.parametrize(
    "shape",
    [
        "accumulation",
        *(pytest.param(each, marks=pytest.mark.slow) for each in list(SHAPES)[1:]),
    ],
)
def test_the_same_weights(expected: dict[str, Tensor], shape: str) -> None:
    model = tiny_vit().double()
    fitted = run(model, **SHAPES[shape])
    found = difference(expected, both(model, fitted))
    print(f"\n{shape}: largest difference {found:.1e}")
    assert found < TOLERANCE
    assert len(fitted.history) == 20
    assert len(fitted.epochs) == SHAPES_RECIPE.epochs


def test_a_wrong_weight_would_be_seen(expected: dict[str, Tensor]) -> None:
    """Micro-batches of 4 and 6 weighed alike, as a mean of means does."""
    model = Misweighted(tiny_vit().double(), parts=2)
    fitted = run(model, device_batch=6)
    found = difference(expected, {name.replace("inner.", ""): value for name, value in both(model, fitted).items()})
    assert found > 1e5 * TOLERANCE


def test_batch_norm_is_noted() -> None:
    """It is the one thing that sees the split, so the record says that it did."""
    whole, parted = run(tiny_convolutions()), run(tiny_convolutions(), device_batch=4)
    assert "batch_norm" not in whole.notes
    assert "2 layers of BatchNorm saw micro-batches of 4 of the global batch of 10" in parted.notes["batch_norm"]
    assert "batch_norm" not in run(tiny_vit(), device_batch=4).notes


def test_lambdas_cannot_be_sent_to_processes() -> None:
    execution = Execution(device="cpu", devices=2)
    with pytest.raises(ValueError, match="no lambdas or locals, or devices=1"):
        fit(tiny_vit(), Memory(), SHAPES_RECIPE, execution, 5, evaluate=lambda model: {})


@pytest.mark.slow
def test_an_error_in_a_process_is_raised_here() -> None:
    execution = Execution(device="cpu", devices=2)
    with pytest.raises(ValueError, match="global_batch=10 is larger than the training set of 8 items"):
        fit(tiny_vit(), Memory(items=8), SHAPES_RECIPE, execution, 5)


def listen(*said: Any, told: list[Any]) -> Any:
    """What comes of two processes of which the first says this; without a word the second has died."""
    execution = Execution(device="cpu", devices=2, report=lambda *heard: told.append(heard))
    log = lambda *heard: told.append(heard)  # noqa: E731
    processes = _Processes(Job(tiny_vit(), Memory(), SHAPES_RECIPE, execution, 5, None, log, {}))
    (first, mouth), (second, other) = Pipe(duplex=False), Pipe(duplex=False)
    for each in said:
        mouth.send(each)
    if not said:
        other.close()
    return processes._listen([first, second])


def test_what_processes_say_is_passed_on_and_their_errors_raised() -> None:
    """Said here by hand: processes of their own take half a minute to start where cores are few."""
    told: list[Any] = []
    words = [("report", ("step", 1, 20)), ("log", ("step", {"loss": 1.0}))]
    assert listen(*words, ("done", {"steps": 20}), told=told) == {"steps": 20}
    assert told == [value for _, value in words]
    with pytest.raises(ValueError, match="no items"):
        listen(*words, ("error", ValueError("no items")), told=told)
    with pytest.raises(RuntimeError, match="process of device 1 died"):
        listen(told=told)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_under_torchrun(expected: dict[str, Tensor], tmp_path: Path, strategy: str) -> None:
    """Processes that a launcher started are used as they are."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from tests.training_fakes import train_under_a_launcher\n"
        "train_under_a_launcher(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*command, str(script), strategy, str(tmp_path / "weights")], check=True)
    assert difference(expected, load_file(tmp_path / "weights")) < TOLERANCE


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def both(model: nn.Module, fitted: Fitted) -> dict[str, Tensor]:
    """Weights and their average."""
    average = {f"average.{name}": value for name, value in weights(fitted.model).items()}
    return {**weights(model), **average}


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((value - other[name]).abs().max()) for name, value in one.items())
