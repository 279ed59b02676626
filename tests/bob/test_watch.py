"""Checkpoints that are published while they are watched, and a run that was over before."""

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.places import Places
from backbones.pretraining.beginning import drawn
from backbones.pretraining.publishing import Lineage, Publisher
from backbones.pretraining.runs import FINISHED, RUNS, SETTINGS
from bob import watch
from bob.watch import watched

TINY = {"channels": [8, 8, 16, 16]}


def publish(root: Path, step: int, name: str = "mine") -> None:
    """A tiny network whose weights are other ones at every step."""
    folder = root / RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text("settings: {}\n")
    beginning = drawn("timm:resnet10t", TINY, 32, step, Places())
    lineage = Lineage(run=name, method="simclr", recipe_sha256="0", data="0", parent=None)
    publisher = Publisher(folder, beginning.architecture, lineage, ("simclr", "noise"), "your own", 1, 100, 1)
    publisher.publish(beginning.backbone, step)


def test_names_come_as_they_are_published_till_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    happens = [lambda: publish(tmp_path, 30), lambda: (tmp_path / RUNS / "mine" / FINISHED).touch()]
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: happens.pop(0)())
    publish(tmp_path, 10)
    publish(tmp_path, 20)
    found = list(watched("mine", Places((tmp_path,)), said.append))
    assert found == [["checkpoint:mine@20", "checkpoint:mine@10"], ["checkpoint:mine@30"]]
    assert [line.partition("waits")[2] for line in said] == [
        " for what comes after step 20",
        " for what comes after step 30",
    ]


def test_a_run_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    publish(tmp_path, 10)
    with pytest.raises(ValueError, match="unknown run of pretraining 'mime'; did you mean 'mine'"):
        next(watched("mime", Places((tmp_path,)), print))


def test_each_checkpoint_is_asked_once_beside_what_the_plan_names(bob: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    publish(tmp_path, 10)
    pid = bob.start(
        "run", "--watch", "mine", "--backbones", "pixels", "--tasks", "classification.knn", "--datasets", "digits"
    )
    bob.until("waits for what comes after step 10")
    publish(tmp_path, 20)
    (tmp_path / RUNS / "mine" / FINISHED).touch()
    assert bob.wait(pid) == 0
    assert "3 cells computed, 0 found done" in bob.log.read_text()
