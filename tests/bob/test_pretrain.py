"""``bob pretrain``: trains, publishes, goes on where it was stopped, and refuses what cannot be."""

import csv
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from PIL import Image

from backbones.catalogue import load
from backbones.pretraining.catalogue import METHODS, described, settings_class
from backbones.training.execution import Execution
from backbones.training.outcomes import CollapsedError
from bob.interrupt import EXIT_REQUEUE
from bob.options import Alarm, PretrainOptions
from bob.plan import PlanError
from bob.pretrain import Pretraining, prepare, train
from bob.pretraining.asked import asked_for
from bob.pretraining.material import material
from bob.pretraining.page import page
from bob.progress import Progress
from bob.show import describe
from tasks.datasets.base import OpenOptions
from tasks.datasets.partition import partition

KWARGS = "{channels: [8, 8, 16, 16]}"
SETTINGS = ["recipe.epochs=2", "recipe.global_batch=8", "recipe.warmup_epochs=0", "method.projector=[16, 8]"]
OPTIONS = PretrainOptions(
    data="unlabelled:photos",
    settings=SETTINGS,
    arch="timm:resnet10t",
    kwargs=KWARGS,
    size=32,
    name="tiny",
    alarm=Alarm.WARN,
)
ASKED = ("--data", "unlabelled:photos", "--arch", "timm:resnet10t", "--kwargs", KWARGS, "--size", "32")
COMMAND = ("pretrain", "simclr", *ASKED, "--device", "cpu", "--workers", "1", "--alarm", "warn", "--set", *SETTINGS)
"""Noise is no thing to learn: in a few steps the alarm may well sound."""
STEPS = 6
"""24 images in two epochs of three batches."""


def picture(path: Path, seed: int, light: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 156, (40, 36, 3), dtype=np.uint8) + np.uint8(light)
    Image.fromarray(pixels).save(path)


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 images without labels, in the folder that is the current one. Trainings here, not those of ``bob``, draw no
    curves: they would be most of a test's time.
    """
    monkeypatch.setattr("bob.pretraining.live.draw_curves", lambda folder: None)
    monkeypatch.chdir(tmp_path)
    for seed in range(24):
        picture(tmp_path / "photos" / f"{seed % 2}" / f"{seed:02}.png", seed)
    return tmp_path / "photos"


def prepared(method: str = "simclr", **changes: Any) -> Pretraining:
    return prepare(method, replace(OPTIONS, **changes), OpenOptions(), Execution(device="cpu", workers=0))


def trained(method: str = "simclr", **changes: Any) -> Pretraining:
    ready, options = prepared(method, **changes), replace(OPTIONS, **changes)
    with Progress() as progress:
        train(ready, options, Execution(device="cpu", workers=0), progress)
    return ready


def weights(run: str, step: int) -> bytes:
    return Path(f"outputs/pretraining/{run}/published/step-{step:09d}/weights.safetensors").read_bytes()


def logs(run: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(f"outputs/pretraining/{run}/logs").glob("*.csv")}


def test_what_is_published_is_the_trainee_with_a_card_and_a_lineage() -> None:
    ready = trained(publish_every=1)
    backbone, trainee = load("checkpoint:tiny"), ready.trainee.method.published()
    mine, theirs = backbone.state_dict(), trainee.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():  # the training's memory is channels-last, so sums are in another order
        assert torch.allclose(backbone.embed(images), trainee.embed(images), atol=1e-5)
    assert backbone.card.name == f"checkpoint:tiny@{STEPS}"
    assert backbone.card.family == "self-supervised"
    assert backbone.card.pretraining_data == "unlabelled:photos (all)"
    assert backbone.preprocess == ready.beginning.backbone.preprocess
    halfway = load("checkpoint:tiny@3")
    assert halfway.card.weights_sha256 != backbone.card.weights_sha256
    card = yaml.safe_load(Path("outputs/pretraining/tiny/published/step-000000006/card.yaml").read_text())
    lineage = card["lineage"]
    assert {name: lineage[name] for name in ("run", "method", "step", "parent", "data")} == {
        "run": "tiny", "method": "simclr", "step": STEPS, "parent": None,
        "data": ready.images.dataset.manifest_sha256,
    }  # fmt: skip
    folder = Path("outputs/pretraining/tiny")
    assert {each.name for each in folder.iterdir()} >= {"run.yaml", "logs", "page.html", "finished", "checkpoints"}
    assert 'http-equiv="refresh"' not in (folder / "page.html").read_text()


def stopped_by(bob: Any, number: int, after: int, *command: str) -> int:
    """The exit code of a training that is sent a signal once so many of its steps are logged."""
    pid, steps = bob.start(*command), Path("outputs/pretraining/stopped/logs/steps.csv")
    end = time.monotonic() + 120
    while not steps.exists() or len(steps.read_text().splitlines()) < 1 + after:
        assert time.monotonic() < end, bob.log.read_text()
        time.sleep(0.01)
    os.kill(pid, number)
    return int(bob.wait(pid))


def test_a_stopped_training_goes_on_to_the_same_bits_and_then_is_finished(bob: Any) -> None:
    longer = (*COMMAND, "recipe.epochs=4")
    assert bob(*longer, "--name", "whole")[0] == 0
    command = (*longer, "--name", "stopped", "--checkpoint-minutes", "0")
    assert stopped_by(bob, signal.SIGKILL, 4, *command) == -signal.SIGKILL
    assert stopped_by(bob, signal.SIGTERM, 8, *command) == EXIT_REQUEUE
    assert not Path("outputs/pretraining/stopped/finished").exists()
    code, said = bob(*command)
    assert code == 0, said
    assert weights("stopped", 12) == weights("whole", 12)
    assert logs("stopped") == logs("whole")
    code, said = bob(*command)
    assert code == 0
    assert "run stopped is finished" in said
    assert "published checkpoint:stopped@12" in said
    code, said = bob(*command, "--seed", "1", "--set", *SETTINGS, "method.temperature=0.3", "recipe.epochs=3")
    assert code == 2
    for line in ("method.temperature is 0.3, there 0.1", "recipe.epochs is 3, there 4", "seed is 1, there 0"):
        assert line in said
    assert "another --name" in said
    assert weights("stopped", 12) == weights("whole", 12)


def test_changed_images_are_refused(photos: Path) -> None:
    trained()
    picture(photos / "0" / "00.png", 99)
    with pytest.raises(PlanError, match=r"data\.manifest_sha256 is"):
        trained()


def test_two_trainings_at_once_in_one_folder_are_refused() -> None:
    folder = Path("outputs/pretraining/tiny")
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(PlanError, match="trained by another process"):
        trained()


def test_every_mistake_at_once() -> None:
    wrong = ["method.temprature=0.2", "recipe.epochs=0", "method.views.0.blurr=1", "epochs=3", "recipe.optimiser=adam"]
    options = PretrainOptions(preset="cifer", settings=wrong, init="pixels", arch="timm:resnet18", name="a/b")
    with pytest.raises(PlanError) as caught:
        asked_for("simclr", options)
    said = "\n".join(caught.value.lines)
    for part in (
        "unknown preset of simclr 'cifer'; did you mean 'cifar'?",
        "did you mean 'temperature'?",
        "recipe.epochs: ",
        "did you mean 'blur'",
        "write method.NAME=VALUE or recipe.NAME=VALUE",
        "recipe.optimiser: ",
        "--data: must be given",
        "--init brings its architecture",
        "--name: 'a/b'",
    ):
        assert part in said, part


def test_a_preset_is_taken_with_single_values_over_it() -> None:
    settings = ["method.temperature=0.5", "recipe.epochs=20", "method.views.0.blur=0.25"]
    asked = asked_for("simclr", PretrainOptions(data="digits", preset="cifar", settings=settings))
    assert (asked.architecture, asked.size, asked.recipe.epochs) == ("small_stem:resnet18", 32, 20)
    assert (asked.recipe.optimiser, asked.recipe.global_batch) == ("lars", 256)
    plain: Any = asked.settings
    assert (plain.temperature, plain.projector, plain.views[0].blur) == (0.5, (2048, 256), 0.25)
    assert asked_for("simclr", PretrainOptions(data="digits")).architecture == "timm:resnet18"


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"settings": [*SETTINGS, "recipe.global_batch=32"]}, "there are 24 images to train on; set at most 24"),
        ({"settings": [*SETTINGS, "recipe.global_batch=1"]}, "simclr compares the images of a batch with each other"),
        (
            {
                "arch": "timm:vit_tiny_patch16_224",
                "kwargs": "{patch_size: 8, img_size: 32, embed_dim: 32, depth: 1, num_heads: 2}",
                "settings": [*SETTINGS, "method.views.0.size=4"],
            },
            "views of 4 pixels are smaller than a patch of 8",
        ),
        ({"arch": "tim:resnet18"}, "must be LIBRARY:NAME with one of timm"),
        ({"arch": "timm:resnet1O"}, "did you mean"),
        ({"init": "pixels", "arch": "", "kwargs": ""}, "no card can say how to build it again"),
        ({"init": "random:timm:resnet10t", "arch": "", "kwargs": ""}, "or from an architecture"),
        ({"data": "unlabelled:photos:train"}, "unknown part of unlabelled:photos 'train'; there are: all"),
        ({"probe": ["unlabelled:photos"]}, "no labels"),
    ],
)
def test_what_cannot_be_is_refused_before_it_begins(changes: dict[str, Any], answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        prepared(**changes)
    assert not Path("outputs/pretraining").exists()


def test_unreadable_images_are_named_or_left_out_and_counted(bob: Any, photos: Path) -> None:
    whole = (photos / "1" / "05.png").read_bytes()
    (photos / "1" / "05.png").write_bytes(whole[:100])
    code, said = bob(*COMMAND, "--name", "tiny")
    assert code == 2
    assert "1/05.png" in said
    assert not Path("outputs/pretraining").exists()
    code, said = bob(*COMMAND, "--name", "tiny", "--skip-unreadable")
    assert code == 0, said
    assert "1 of 24 images could not be read and were left out" in said
    kept = yaml.safe_load(Path("outputs/pretraining/tiny/run.yaml").read_text())
    assert kept["images"] == {"used": 23, "found": 24}
    assert kept["settings"]["data"]["images"] == 23


def test_images_that_tasks_test_on_are_left_out_where_a_set_has_no_parts(photos: Path) -> None:
    found = material("images:photos", OpenOptions())
    tested = partition(found.dataset, 0).test.names
    assert found.part == "all but what is tested"
    assert set(found.images.names) == {f"{at % 2}/{at:02}.png" for at in range(24)} - set(tested)
    assert len(material("images:photos:all", OpenOptions()).images) == 24
    photos.rename(photos.with_name("train"))
    assert len(material("unlabelled:train", OpenOptions()).images) == 24


def test_divergence_is_told_with_its_step_and_publishes_nothing(bob: Any) -> None:
    code, said = bob(*COMMAND, "recipe.learning_rate=1e30", "recipe.optimiser=sgd", "--name", "wild")
    assert code == 1
    assert "training diverged" in said
    assert not list(Path("outputs/pretraining/wild").glob("published/step-*"))


def test_a_collapse_stops_the_training_and_publishes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbones.pretraining.health.health.fallen", lambda *_: ["all is one point"])
    with pytest.raises(CollapsedError, match="by the end of epoch 1: all is one point"):
        trained(alarm=Alarm.STOP, publish_every=1)
    folder = Path("outputs/pretraining/tiny")
    assert not (folder / "published").exists()
    assert "collapsed by the end of epoch 1" in (folder / "page.html").read_text()


def test_a_run_can_begin_from_a_published_one() -> None:
    first = trained()
    second = prepared(name="more", init="checkpoint:tiny@6", arch="", kwargs="", size=None)
    mine = second.trainee.method.encoder.backbone.state_dict()
    theirs = first.trainee.method.published().state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    trained(name="more", init="checkpoint:tiny@6", arch="", kwargs="", size=None)
    card = yaml.safe_load(Path("outputs/pretraining/more/published/step-000000006/card.yaml").read_text())
    assert card["lineage"]["parent"] == f"checkpoint:tiny@6 {load('checkpoint:tiny@6').card.weights_sha256}"
    assert card["pretraining"]["method"] == "simclr, then simclr"


def test_a_probe_is_the_harness_own_number(bob: Any, tmp_path: Path) -> None:
    for seed in range(60):
        split, label = ("train", "test")[seed % 2], seed // 2 % 2
        picture(tmp_path / "labelled" / split / str(label) / f"{seed}.png", 100 + seed, 20 * label)
    code, said = bob(*COMMAND, "--name", "tiny", "--probe", "images:labelled")
    assert code == 0, said
    rows = list(csv.DictReader(logs("tiny")["epochs.csv"].decode().splitlines()))
    assert {"loss", "rank_me", "collapsed", "z_deviation", "knn", "linear"} < set(rows[0])
    asked = ("--backbones", "checkpoint:tiny", "--tasks", "classification.knn", "classification.linear")
    code, said = bob("run", *asked, "--datasets", "images:labelled", "--device", "cpu", "--workers", "1")
    assert code == 0, said
    for path in Path("outputs/store/cells").glob("*/record.json"):
        record = json.loads(path.read_text())
        (top1,) = (score["value"] for score in record["scores"] if score["metric"] == "top1")
        assert float(rows[-1][record["cell"]["task"].removeprefix("classification.")]) == top1
        assert record["cell"]["backbone"] == f"checkpoint:tiny@{STEPS}"


def test_methods_are_listed_as_their_classes_say() -> None:
    assert {each.name for each in described()} == set(METHODS.found)
    for each in described():
        kind = settings_class(each.name)
        assert (each.family, each.needs) == (kind.family, kind.needs), each.name


def test_show_tells_a_methods_presets_and_a_checkpoints_lineage() -> None:
    said = describe("simclr", OpenOptions())
    assert "setting method.temperature: 0.1" in said
    assert "preset cifar" in said
    trained()
    said = describe("checkpoint:tiny", OpenOptions())
    assert "lineage run: tiny" in said
    assert f"lineage step: {STEPS}" in said


def test_a_page_shows_hostile_names_as_text() -> None:
    text = page("run", "stopped: <script>1</script>", {"data": {"<img src=x>": "=cmd()"}}, {"knn": 0.5}, None)
    assert "<script" not in text
    assert "<img" not in text
    assert "data.&lt;img src=x&gt;" in text
