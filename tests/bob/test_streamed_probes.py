"""The probes on stored features from end to end, on real digits: sound numbers, presets as fields, honest failures."""

import json
from pathlib import Path
from typing import Any

import pytest


def records(folder: Path, task: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob("outputs/store/cells/*/record.json")]
    return [each for each in found if each["cell"]["task"] == task]


def top1(record: dict[str, Any]) -> float:
    return next(score["value"] for score in record["scores"] if score["metric"] == "top1")


def test_digits(bob: Any) -> None:
    """SGD within 3 points of the exact probe; attention to cells better than both on the 8 pooled numbers."""
    (bob.folder / "plan.yaml").write_text(
        "backbones: [pixels]\n"
        "tasks:\n"
        "  - {task: classification.linear, dataset: digits}\n"
        "  - {task: classification.linear_sgd, dataset: digits, epochs: 30, batch: 64}\n"
        "  - {task: classification.attentive, dataset: digits, epochs: 30, batch: 64, learning_rates: [0.03, 0.1]}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    (exact,), (streamed,), (attentive,) = (
        records(bob.folder, f"classification.{name}") for name in ("linear", "linear_sgd", "attentive")
    )
    assert top1(streamed) == pytest.approx(top1(exact), abs=0.03)
    assert top1(attentive) > max(top1(exact), top1(streamed))
    assert attentive["notes"]["cells"] == {"cells": 16, "channels": 8}
    assert len(streamed["notes"]["val_top1"]) == 28
    assert streamed["notes"]["learning_rate"] in streamed["notes"]["settings"]["learning_rates"]


def test_a_preset_and_its_fields_are_one_cell_and_mistakes_are_named(bob: Any) -> None:
    fields = (
        "optimiser: lars, learning_rates: [0.1], weight_decays: [0], epochs: 12, warmup_epochs: 10, scaling: batch_norm"
    )
    plan = bob.folder / "plan.yaml"
    plan.write_text(
        "backbones: [pixels]\n"
        "tasks:\n"
        "  - {task: classification.linear_sgd, dataset: digits, preset: bob2023, batch: 256, epochs: 12}\n"
        f"  - {{task: classification.linear_sgd, dataset: digits, batch: 256, {fields}}}\n"
    )
    code, log = bob("run", str(plan))
    assert code == 0, log
    assert "1 cells computed" in log
    (record,) = records(bob.folder, "classification.linear_sgd")
    assert record["notes"]["settings"]["optimiser"] == "lars"
    assert "preset" not in record["notes"]["settings"]
    assert record["notes"]["learning_rate"] == 0.1
    plan.write_text("backbones: [pixels]\ntasks: [{task: classification.linear_sgd, dataset: digits, preset: bob24}]\n")
    code, log = bob("plan", str(plan))
    assert code == 2
    assert "there is no preset 'bob24'; there are: bob2023" in log


def test_a_backbone_without_maps_fails_by_name_and_the_batch_is_refused(bob: Any, tiny_backbones: list[str]) -> None:
    (bob.folder / "plan.yaml").write_text(
        f"backbones: [{tiny_backbones[0]}]\n"
        "tasks:\n"
        "  - {task: classification.attentive, dataset: digits}\n"
        "  - {task: classification.linear_sgd, dataset: digits, preset: bob2023}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 1
    assert "NotImplementedError" in log
    assert "mine.py:one" in log
    assert "1 not applicable" in bob("plan", "plan.yaml")[1]
