"""Case 20: out of memory halves the device batch, repeats the step, and ends with the same weights, and a note."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.outcomes import OutOfMemory
from backbones.training.recipe import Recipe
from tests.training_fakes import Classifier, Memory, Stingy, digest, tiny_convolutions, tiny_vit

RECIPE = Recipe(epochs=3, global_batch=16, warmup_epochs=1, average_decay=0.9, clip_norm=1.0)


def run(trainee: Classifier, folder: Path | None = None, stream: Memory | None = None, **how: Any) -> Any:
    execution = Execution(device="cpu", workers=0, folder=folder, checkpoint_minutes=0.0, **how)
    return fit(trainee, stream or Memory(), RECIPE, execution, 3)


@pytest.mark.parametrize(("room", "batches"), [(15, [16, 8]), (5, [16, 8, 4]), (2, [16, 8, 4, 2])])
def test_halved_until_it_fits(room: int, batches: list[int]) -> None:
    """In double precision, so that the order of sums shows as 1e-13 and a wrong weight of a part as much more."""
    expected = tiny_vit().double()
    whole = run(expected)
    trainee = Stingy(tiny_vit().double(), room)
    fitted = run(trainee)
    notes = fitted.notes["out_of_memory"]
    assert [(note["from"], note["to"]) for note in notes] == list(pairwise(batches))
    assert all(note["step"] == 1 and "out of memory" in note["reason"] for note in notes)
    assert largest_difference(trainee.inner, expected) < 1e-9
    assert [row["loss"] for row in fitted.history] == pytest.approx([row["loss"] for row in whole.history], rel=1e-6)


def test_a_process_that_was_killed_for_its_memory_begins_with_less() -> None:
    """As a training that was told the smaller device batch, bit for bit; and it says so."""
    expected = Stingy(tiny_vit(), room=4)
    whole = run(expected, device_batch=4)
    trainee = Stingy(tiny_vit(), room=4)
    fitted = run(trainee, halvings=2)
    assert "out_of_memory" not in fitted.notes
    assert fitted.notes["killed_for_memory"] == "2 times before; device batch 4"
    assert digest(fitted, trainee) == digest(whole, expected)


def test_in_the_middle_of_a_training(tmp_path: Path) -> None:
    """The second part of step 4 is the one that does not fit: what the first did to gradients and BatchNorm is undone.

    From there on it is, bit for bit, a training with the smaller device batch that began at that step's checkpoint.
    """
    trainee = Stingy(tiny_convolutions(), room=4, after=7)
    fitted = run(trainee, device_batch=8)
    assert [(note["step"], note["from"], note["to"]) for note in fitted.notes["out_of_memory"]] == [(4, 8, 4)]
    stopped = Stingy(tiny_convolutions(), room=4, after=7, error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run(stopped, folder=tmp_path, device_batch=8)
    again = Stingy(tiny_convolutions(), room=99)
    assert digest(run(again, folder=tmp_path, device_batch=4), again) == digest(fitted, trainee)


def test_a_restart_remembers(tmp_path: Path) -> None:
    """With the same execution it begins with the batch that fitted; it would end with other bits else."""
    expected = Stingy(tiny_convolutions(), room=4)
    whole = run(expected, device_batch=8)
    stopping = Stingy(tiny_convolutions(), room=4, after=0)
    stopping.stop_after = 12
    with pytest.raises(KeyboardInterrupt):
        run(stopping, folder=tmp_path, device_batch=8)
    again = Stingy(tiny_convolutions(), room=4)
    fitted = run(again, folder=tmp_path, device_batch=8)
    assert len(fitted.notes["out_of_memory"]) == 1
    assert digest(fitted, again) == digest(whole, expected)


def test_what_cannot_be_halved_is_named() -> None:
    with pytest.raises(OutOfMemory, match="device batch of 2: it cannot be halved"):
        run(Stingy(tiny_vit(), room=1))


@pytest.mark.slow
def test_several_devices_start_again_with_half() -> None:
    expected = tiny_vit().double()
    run(expected)
    trainee = Stingy(tiny_vit().double(), room=4)
    fitted = run(trainee, devices=2)
    assert [(note["from"], note["to"]) for note in fitted.notes["out_of_memory"]] == [(8, 4)]
    assert largest_difference(trainee.inner, expected) < 1e-9


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)
