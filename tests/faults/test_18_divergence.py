"""Case 18: a loss that is NaN, infinite or runs away ends a training as diverged; nothing of it is kept."""

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.training.checkpoint import Checkpoints
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.outcomes import Diverged
from backbones.training.recipe import Recipe
from tests.training_fakes import RECIPE, Memory, digest, tiny_convolutions, tiny_vit


def poison(value: float, epoch: int) -> Any:
    """One pixel of the images that are in a batch of the given epoch."""

    def item(index: int, now: int, image: torch.Tensor) -> torch.Tensor:
        if now == epoch:
            image = image.clone()
            image[0, 0, 0] = value
        return image

    return item


def run(folder: Path | None, stream: Memory, recipe: Recipe = RECIPE, make: Any = tiny_convolutions, **how: Any) -> Any:
    trainee = make()
    execution = Execution(device="cpu", workers=0, folder=folder, checkpoint_minutes=0.0, **how)
    return trainee, fit(trainee, stream, recipe, execution, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("device_batch", [None, 4])
def test_a_poisoned_batch(tmp_path: Path, value: float, device_batch: int | None) -> None:
    with pytest.raises(Diverged, match="the loss of step 4 is nan") as caught:
        run(tmp_path, Memory(item=poison(value, epoch=1)), device_batch=device_batch)
    assert caught.value.step == 4
    kept = Checkpoints(tmp_path / "checkpoints", 2).latest()
    assert kept is not None
    assert kept.step == 3
    assert all(tensor.isfinite().all() for tensors in kept.tensors.values() for tensor in tensors.values())
    trainee, fitted = run(tmp_path, Memory(), device_batch=device_batch)  # the batch mended: it goes on before it
    whole, expected = run(None, Memory(), device_batch=device_batch)
    assert digest(fitted, trainee) == digest(expected, whole)


def test_a_learning_rate_of_a_million() -> None:
    """The loss may stay finite; it has run away all the same."""
    recipe = Recipe(epochs=10, global_batch=12, warmup_epochs=0, learning_rate=1e6)
    with pytest.raises(Diverged, match="lower the learning rate") as caught:
        run(None, Memory(), recipe, tiny_vit)
    assert caught.value.step > 1
    assert not caught.value.loss <= 1000 * caught.value.first


def test_the_last_step_is_looked_at(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, global_batch=40, warmup_epochs=0)
    with pytest.raises(Diverged, match="step 1 "):
        run(tmp_path, Memory(item=poison(math.nan, epoch=0)), recipe)
    assert not (tmp_path / "checkpoints").exists()


def test_a_diverged_training_can_be_sent_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Diverged(3, math.nan, 1.5)))
    assert (error.step, error.first) == (3, 1.5)
    assert isinstance(error, ArithmeticError)
