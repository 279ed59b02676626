"""Case 9: after a change of settings, weights or data nothing old is reused, and ``bob plan`` says what changed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from bob.gauntlet import Gauntlet
from bob.plan import Cell, Question
from bob.roster import Roster
from bob.states import State, states
from results.record import Identity
from results.store import Store
from tasks.base import Data, Score, Task, Tools


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of noise of different brightness."""
    generator = np.random.default_rng(0)
    for name, level in [("dark", 60), ("light", 180)]:
        for index in range(12):
            path = tmp_path / "data" / name / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(level - 50, level + 50, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def test_every_change_is_noticed_and_named(bob: Any, tiny_backbones: list[str], folder: Path) -> None:
    ask = ["--backbones", tiny_backbones[0], "--tasks", "classification.knn", "--datasets", "images:data"]
    assert bob("run", *ask)[0] == 0
    assert "1 done" in bob("plan", *ask)[1]

    Image.new("RGB", (16, 16), "red").save(folder / "dark" / "03.png")
    assert "1 stale" in (log := bob("plan", *ask)[1])
    assert "dataset images:data has other contents" in log
    assert "1 cells computed" in bob("run", *ask)[1]

    mine = bob.folder / "mine.py"
    mine.write_text(mine.read_text().replace("_build(1)", "_build(7)"))
    assert "weights" in bob("plan", *ask)[1]
    assert "1 cells computed" in bob("run", *ask)[1]

    mine.write_text(mine.read_text().replace("0.5, 0.5, 0.5), std", "0.4, 0.4, 0.4), std"))
    assert "1 stale" in (log := bob("plan", *ask)[1])
    assert "preprocessing mean [0.5, 0.5, 0.5] -> [0.4, 0.4, 0.4]" in log
    assert "default" not in log
    assert "1 cells computed" in bob("run", *ask)[1]
    assert "1 found done" in bob("run", *ask, "--workers", "1", "--storage", "float16")[1]
    assert "1 stale" in bob("plan", *ask, "--precision", "bfloat16")[1]


def test_a_set_of_the_same_name_elsewhere_is_told_for_what_it_is(
    bob: Any, tiny_backbones: list[str], folder: Path
) -> None:
    """Both answers are kept: neither folder has changed, whatever the other is called."""
    other = bob.folder / "elsewhere" / "data"
    shutil.copytree(folder, other)
    Image.new("RGB", (16, 16), "red").save(other / "dark" / "00.png")
    ask = ["--backbones", tiny_backbones[0], "--tasks", "classification.knn", "--datasets", "images:data"]
    there = ["--data-root", "elsewhere"]
    assert bob("run", *ask)[0] == 0
    assert "1 stale" in (log := bob("plan", *ask, *there)[1])
    assert "it changed, or is another of that name" in log
    assert "1 cells computed" in bob("run", *ask, *there)[1]
    assert "1 done" in bob("plan", *ask)[1]
    assert "1 done" in bob("plan", *ask, *there)[1]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Ask(Task):
    """A question with a default, of which there may be another version."""

    name: ClassVar[str] = "ask"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    k: int = 20
    metric: str = "cosine"

    def uses_seed(self, data: Data) -> bool:
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score]:
        yield Score("top1", 0.5)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AskedOtherwise(Ask):
    k: int = 10


def cell_of(task: Task, **preprocess: Any) -> Cell:
    shown = {"size": (32, 32), "crop": "center", **preprocess}
    identity = Identity(weights_sha256="0", manifests={}, protocol_version=1, precision="float32", preprocess=shown)
    return Cell("pixels", "pixels", Question(task, {}, {}), 0, identity, None)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (cell_of(AskedOtherwise()), "default of k 20 -> 10"),
        (cell_of(Ask(), size=(64, 64)), "preprocessing size [32, 32] -> [64, 64]"),
        (cell_of(AskedOtherwise(), crop="squash"), "preprocessing crop center -> squash; default of k 20 -> 10"),
    ],
)
def test_preprocessing_and_defaults_are_told_apart(now: Cell, why: str, tmp_path: Path) -> None:
    roster, store = Roster(Places((tmp_path,))), Store(tmp_path / "store")
    gauntlet = Gauntlet(roster, store, Extractor(ExtractSettings(tmp_path / "cache")), lambda _: None)
    before = cell_of(Ask())
    gauntlet.run([before])
    assert [state for _, state, _ in states([before], store)] == [State.DONE]
    assert [(state, said) for _, state, said in states([now], store)] == [(State.STALE, why)]


def test_of_several_old_answers_the_newest_is_compared_with(tmp_path: Path, make: Any) -> None:
    store, now = Store(tmp_path / "store"), cell_of(Ask())
    for day, weights in [("02", "b" * 8), ("04", "d" * 8), ("01", "a" * 8), ("03", "c" * 8)]:
        identity = now.identity.model_copy(update={"weights_sha256": weights})
        record = make(created=f"2026-01-{day}T00:00:00+00:00")
        store.commit(record.model_copy(update={"cell": now.address, "identity": identity}))
    ((_, state, why),) = states([now], store)
    assert (state, why) == (State.STALE, "weights or their code changed (dddddddd -> 0)")


def test_a_record_without_preprocessing_says_so(tmp_path: Path, make: Any) -> None:
    store, now = Store(tmp_path / "store"), cell_of(Ask())
    identity = now.identity.model_copy(update={"preprocess": None})
    store.commit(make().model_copy(update={"cell": now.address, "identity": identity}))
    ((_, state, why),) = states([now], store)
    assert (state, why) == (State.STALE, "preprocessing changed (this record is too old to say from what)")
