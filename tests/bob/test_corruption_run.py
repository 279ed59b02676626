"""A corrupted set from end to end through ``bob run``: made on the fly, cached once, summed up in the record."""

import json
from typing import Any

import pandas as pd

PLAN = """
backbones: ['file:mine.py:one']
tasks:
  - task: ood.corruption
    train: digits
    test: corrupted:digits?corruptions=gaussian_noise,brightness,saturate&levels=1,5&per_class=10
    reference_errors: mine.yaml
"""


def test_digits_are_lost_step_by_step(bob: Any, tiny_backbones: list[str]) -> None:
    (bob.folder / "plan.yaml").write_text(PLAN)
    (bob.folder / "mine.yaml").write_text("{clean: 0.05, gaussian_noise: 0.5, brightness: 0.25}")
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    (path,) = bob.folder.glob("outputs/store/cells/*/record.json")
    record = json.loads(path.read_text())
    scores = {(score["metric"], score["split"]): score for score in record["scores"]}
    top1 = {split: scores["top1", split]["value"] for metric, split in scores if metric == "top1"}
    assert top1["clean"] > 0.8
    assert top1["clean"] >= top1["gaussian_noise/1"] > top1["gaussian_noise/5"], top1
    assert top1["brightness/1"] > top1["brightness/5"], top1
    mean = {name: 1 - (top1[f"{name}/1"] + top1[f"{name}/5"]) / 2 for name in ("gaussian_noise", "brightness")}
    assert abs(scores["mean_corruption_error", "test"]["value"] - sum(mean.values()) / 2) < 1e-9
    assert abs(scores["mCE", "test"]["value"] - (mean["gaussian_noise"] / 0.5 + mean["brightness"] / 0.25) / 2) < 1e-9
    assert scores["mean_corruption_error", "test"]["n"] == 100
    assert scores["extra_corruption_error", "test"]["value"] < 0.5
    items = pd.read_parquet(next(path.parent.glob("*.parquet")))
    assert {"clean", "brightness/5", "gaussian_noise", "test"} <= set(items["split"])
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    assert json.loads(path.read_text()) == record, "it was computed again"


def test_mistakes_are_told_before_anything_is_computed(bob: Any, tiny_backbones: list[str]) -> None:
    (bob.folder / "plan.yaml").write_text(PLAN.replace("brightness", "brightnss").replace("mine.yaml", "absent.yaml"))
    code, log = bob("run", "plan.yaml")
    assert code != 0
    assert "unknown corruption 'brightnss'; did you mean 'brightness'" in log
    assert "absent.yaml" in log
