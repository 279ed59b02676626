"""Checkpoints that are whole or absent, and what a training refuses to go on from."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.training.checkpoint import Checkpoint, Checkpoints
from backbones.training.execution import Execution
from backbones.training.identity import CannotResumeError
from backbones.training.loop import fit
from tests.training_fakes import RECIPE, Memory, tiny_convolutions, tiny_vit


def moment(step: int) -> Checkpoint:
    return Checkpoint(step, {"model": {"weight": torch.full((3,), float(step))}, "empty": {}}, {"note": step})


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=2)
    assert store.latest() is None
    for step in (1, 2, 3):
        store.save(moment(step))
    assert [place.name[-1] for place in store.places()] == ["2", "3"]
    latest = store.latest()
    assert latest is not None
    assert (latest.step, latest.facts) == (3, {"note": 3})
    assert torch.equal(latest.tensors["model"]["weight"], torch.full((3,), 3.0))
    assert latest.tensors["empty"] == {}


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.json"])
def test_any_flipped_byte_or_cut_falls_back(tmp_path: Path, name: str) -> None:
    store = Checkpoints(tmp_path, keep=2)
    store.save(moment(1))
    store.save(moment(2))
    path = store.places()[-1] / name
    data = path.read_bytes()
    damages = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), 3)]
    damages += [data[:at] for at in range(0, len(data), 5)]
    for damaged in damages:
        store.save(moment(2))
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="is damaged .* going on from the one before"):
            latest = store.latest()
        assert latest is not None
        assert latest.step == 1


def test_a_missing_file_falls_back(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=2)
    store.save(moment(1))
    store.save(moment(2))
    (store.places()[-1] / "empty.safetensors").unlink()
    with pytest.warns(UserWarning, match="empty.safetensors"):
        assert store.latest() is not None


def test_a_write_that_fails_leaves_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Checkpoints(tmp_path, keep=1)
    store.save(moment(1))
    monkeypatch.setattr(json, "dump", _full)
    with pytest.raises(OSError, match="No space left"):
        store.save(moment(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000001"]
    latest = store.latest()
    assert latest is not None
    assert latest.step == 1


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".writing-1" / "half").mkdir(parents=True)
    Checkpoints(tmp_path, keep=1).save(moment(1))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000001"]


def _full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def train(folder: Path, make: Any = tiny_convolutions, stream: Any = None, seed: int = 0, **changes: Any) -> Any:
    recipe = dataclasses.replace(RECIPE, **changes.pop("recipe", {}))
    settings = changes.pop("settings", {"augmentation": "none"})
    execution = Execution(device="cpu", workers=0, folder=folder, **changes)
    return fit(make(), stream or Memory(), recipe, execution, seed, settings=settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": {"learning_rate": 1e-4}}, "recipe.learning_rate is 0.0001, there 0.003"),
        (
            {"recipe": {"epochs": 4, "clip_norm": None}},
            "recipe.epochs is 4, there 3; recipe.clip_norm is None, there 1.0",
        ),
        ({"seed": 1}, "seed is 1, there 0"),
        ({"precision": "bfloat16"}, "precision is 'bfloat16', there 'float32'"),
        ({"settings": {"augmentation": "flip"}}, "settings.augmentation is 'flip', there 'none'"),
        ({"stream": Memory(items=41)}, "items is 41, there 40; names of the items is"),
        ({"make": tiny_vit}, "architecture is '"),
    ],
)
def test_another_training_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    train(tmp_path)
    with pytest.raises(CannotResumeError) as caught:
        train(tmp_path, **changes)
    assert said in str(caught.value)
    assert "give this training another folder" in str(caught.value)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first, stream = train(tmp_path), Memory()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = train(tmp_path, stream=stream, device_batch=4, checkpoint_minutes=1.0)
    assert stream.reads == []
    assert again.history == first.history
    assert torch.equal(again.model.model[0][0].weight, first.model.model[0][0].weight)
