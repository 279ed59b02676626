"""Detection at home and elsewhere, by a detector that goes by colour alone: its answers are known beforehand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from backbones.catalogue import load
from backbones.images import decode
from backbones.places import Places
from backbones.training.execution import Execution
from tasks.base import Note, Outputs, Score, Tools
from tasks.datasets.base import Dataset, Split
from tasks.datasets.objects import Objects
from tasks.datasets.partition import Part, partition
from tasks.detection.detection import Detection
from tasks.detection.detector_training import Trained
from tasks.detection.evaluation.report import evaluate
from tasks.detection.evaluation.tables import ImageDetections
from tasks.detection.limits import Limited, difference, mean_of_others, mean_of_same
from tasks.detection.shift import DetectionShift
from tasks.ood.shift import HOME
from tests.detection_fakes import CLASSES, COLOURS, NARROW, Pngs, rectangles

BACKBONE = load("random:timm:test_resnet", Places())
EXACT: dict[str, Any] = {"detector": "faster-rcnn", "global_batch": 4, "trials": 1, "space": {}}


class ByColour(Trained):
    """Finds the rectangles of the three colours, smaller ones less surely, and overlooks some images."""

    def __init__(self) -> None:
        """Nothing was trained."""

    def found(self, part: Part) -> list[ImageDetections]:
        return [self._in(part.images.read(row), place) for place, row in enumerate(part.rows.tolist())]

    def _in(self, encoded: bytes, place: int) -> ImageDetections:
        pixels = decode(encoded).permute(1, 2, 0).numpy()
        boxes, labels = [], []
        for label, colour in enumerate(COLOURS):
            marked, _ = ndimage.label((pixels == colour).all(-1))
            for rows, columns in ndimage.find_objects(marked):
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                labels.append(label)
        kept = slice(0, 0 if place % 5 == 4 else None)
        corners = np.asarray(boxes, np.float32).reshape(-1, 4)[kept]
        scores = (corners[:, 2] - corners[:, 0]) / 200
        return ImageDetections(corners, scores.astype(np.float32), np.asarray(labels, np.int64)[kept])


@pytest.fixture
def by_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DetectionShift, "trained", lambda *given: (ByColour(), [Note("trained", "by colour")]))


class Answers:
    def __init__(self, yielded: Iterator[Score | Outputs | Note]) -> None:
        every = list(yielded)
        self.scores = {(one.metric, one.split): one for one in every if isinstance(one, Score)}
        self.outputs = {one.split: one.columns for one in every if isinstance(one, Outputs)}
        self.notes = {one.name: one for one in every if isinstance(one, Note)}
        assert len(every) == len(self.scores) + len(self.outputs) + len(self.notes), "nothing is said twice"

    def __call__(self, metric: str, split: str = "test") -> float:
        return self.scores[metric, split].value


def run(home: Dataset, *abroad: Dataset, **settings: Any) -> Answers:
    task = DetectionShift(**{**EXACT, **settings})
    data = {"dataset": [home], "test": list(abroad)}
    return Answers(task.run(BACKBONE, data, Tools(lambda *given: np.zeros((0, 0))), 0))


def elsewhere(name: str, change: Any = None, classes: Sequence[str] = CLASSES, seed: int = 500) -> Dataset:
    """Other pictures, their pixels changed, their classes listed in another order or under other names."""
    made = rectangles(train=4, test=15, outlined=False)
    test = made.splits["test"]
    pixels = [decode(test.images.read(row)).permute(1, 2, 0).numpy() for row in range(len(test))]
    images = Pngs([each if change is None else change(each) for each in pixels], name)
    order = np.asarray([classes.index(each) if each in classes else len(classes) for each in CLASSES])
    objects = tuple(replace(each, labels=order[each.labels]) for each in test.objects or ())
    listed = (*classes, *(["unknown"] if len(classes) in order else []))
    split = Split(images, test.labels, tuple(f"{name}{row}" for row in range(len(test))), objects=objects)
    return Dataset(name, listed, {"test": split}, name, "none", "tests", 15, 15, target="objects")


def negative(pixels: np.ndarray) -> np.ndarray:
    return 255 - pixels


def half_faded(pixels: np.ndarray) -> np.ndarray:
    return np.where(np.arange(pixels.shape[1])[None, :, None] < pixels.shape[1] // 2, pixels, pixels // 2)


def test_what_is_lost_is_home_less_abroad(by_colour: None) -> None:
    home, same, lost = rectangles(outlined=False), elsewhere("same"), elsewhere("negative", negative)
    half = elsewhere("half", half_faded)
    answers = run(home, same, lost, half)
    assert 0.3 < answers("ap", HOME) < 1
    assert answers("id_ap", "same") == answers("ap", HOME)
    assert answers("ap", "negative") == answers("ap50", "negative") == 0
    assert answers("drop", "negative") == answers("ap", HOME)
    assert 0 < answers("ap", "half") < answers("ap", "same")
    for name in ("same", "negative", "half"):
        assert answers("drop", name) == pytest.approx(answers("ap", HOME) - answers("ap", name))
        low, high = answers.scores["drop", name].interval or (1, 0)
        assert low <= answers("drop", name) <= high
        assert {name, f"{name}:detections", f"{name}:objects"} <= set(answers.outputs)
        assert len(answers.outputs[name]["item"]) == 15
    assert answers("ood_ap") == pytest.approx(np.mean([answers("ap", name) for name in ("same", "negative", "half")]))
    assert answers.scores["ood_ap", "test"].interval is not None


def test_classes_are_matched_by_name_at_home_as_abroad(by_colour: None) -> None:
    """Against evaluation of sets whose other classes were taken out by hand."""
    home = rectangles(outlined=False)
    answers = run(home, elsewhere("fewer", classes=("blue", "violet", "red")))
    assert answers.notes["classes:fewer"].value == ["red", "blue"]
    test = home.splits["test"]
    part = partition(home, 0).test
    place = {0: 0, 2: 1}

    def by_hand(part: Part, truths: Sequence[Objects], names: dict[int, int]) -> float:
        found = []
        for each in ByColour().found(part):
            rows = [row for row, label in enumerate(each.labels.tolist()) if label in place]
            labels = np.asarray([place[int(each.labels[row])] for row in rows], np.int64)
            found.append(ImageDetections(each.boxes[rows], each.scores[rows], labels))
        kept = []
        for each in truths:
            rows = [row for row, label in enumerate(each.labels.tolist()) if label in names]
            kept.append(Objects(each.size, each.boxes[rows], np.asarray([names[int(each.labels[row])] for row in rows],
                                np.int64), each.areas[rows], each.crowd[rows]))  # fmt: skip
        scores = {one.metric: one.value for one in evaluate(found, kept, part.names, ("red", "blue"))
                  if isinstance(one, Score)}  # fmt: skip
        return scores["ap"]

    assert answers("id_ap", "fewer") == pytest.approx(by_hand(part, test.objects or (), place))
    abroad = elsewhere("fewer", classes=("blue", "violet", "red"))
    whole = partition(replace(abroad, splits={"train": test, "test": abroad.splits["test"]}), 0).test
    assert answers("ap", "fewer") == pytest.approx(by_hand(whole, whole.objects or (), {2: 0, 0: 1}))
    assert answers("ap", HOME) != answers("id_ap", "fewer")


def corrupted(home: Dataset, changes: dict[str, Any], rows: Sequence[int] | None = None) -> Dataset:
    """The home's test images under names of corruptions; they keep the hashes of what is corrupted."""
    test = home.splits["test"]
    rows = range(len(test)) if rows is None else rows
    pixels = [decode(test.images.read(row)).permute(1, 2, 0).numpy() for row in rows]
    splits = {
        name: Split(Pngs([change(each) for each in pixels], "test"), test.labels[: len(pixels)],
                    tuple(test.sha256[row] for row in rows), objects=tuple((test.objects or ())[row] for row in rows))
        for name, change in changes.items()
    }  # fmt: skip
    return Dataset("corrupted:home", CLASSES, splits, "corrupted", "none", "tests", 1, 1, target="objects")


def test_corruptions_are_summed_up_level_by_level_then_one_by_one(by_colour: None) -> None:
    home = rectangles(outlined=False)
    changes = {"fog/1": lambda each: each, "fog/3": half_faded, "snow/5": negative, "spatter/1": negative}
    answers = run(home, corrupted(home, changes))
    name = "corrupted:home"
    clean, faded = answers("ap", HOME), answers("ap", f"{name}/fog/3")
    assert answers("ap", f"{name}/fog/1") == clean
    assert 0 < faded < clean
    assert answers("ap", f"{name}/fog") == pytest.approx((clean + faded) / 2)
    assert answers("mPC", name) == pytest.approx(((clean + faded) / 2 + 0) / 2), "spatter is extra and never counts"
    assert answers("rPC", name) == pytest.approx(answers("mPC", name) / clean)
    assert answers("drop", name) == pytest.approx(clean - answers("mPC", name))
    assert answers("ood_ap") == answers("mPC", name)
    assert answers.notes[f"mPC:{name}"].warning
    assert f"{name}/fog/3:detections" in answers.outputs


def test_clean_is_the_same_images_or_unknown(by_colour: None) -> None:
    home = rectangles(outlined=False)
    few = [0, 1, 2, 4, 5]
    some = run(home, corrupted(home, {"fog/1": lambda each: each}, few))
    truths = [(home.splits["test"].objects or ())[row] for row in few]
    found = [ByColour().found(partition(home, 0).test)[row] for row in few]
    (ap,) = [one.value for one in evaluate(found, truths, [str(row) for row in few], CLASSES)
             if isinstance(one, Score) and one.metric == "ap"]  # fmt: skip
    assert some("rPC", "corrupted:home") == pytest.approx(some("mPC", "corrupted:home") / ap)
    foreign = corrupted(elsewhere("away"), {"fog/1": lambda each: each})
    unknown = run(home, foreign)
    assert ("rPC", "corrupted:home") not in unknown.scores
    assert "not tested" in unknown.notes["rPC:corrupted:home"].value
    known = run(home, foreign, elsewhere("away"))
    assert known("rPC", "corrupted:home") == pytest.approx(known("mPC", "corrupted:home") / known("ap", "away"))


def test_images_that_were_learnt_from_are_a_warning(by_colour: None) -> None:
    home = rectangles(outlined=False)
    copied = replace(elsewhere("copied"), splits={"test": home.splits["train"]})
    note = run(home, copied).notes["leak:copied"]
    assert note.warning
    assert note.value == "24 of 24 images are also learnt from"
    assert "leak:other" not in run(home, elsewhere("other")).notes


def test_refusals_say_what_is_there() -> None:
    home, task = rectangles(outlined=False), DetectionShift(**EXACT)

    def why(*tests: Dataset) -> str:
        return task.refusal(BACKBONE, {"dataset": [home], "test": list(tests)}) or ""

    assert why(elsewhere("fine")) == ""
    strange = elsewhere("strange", classes=("car", "bus"))
    assert "shares no class with 'rectangles': it has car, bus, unknown; the detector learns red, green, blue" in why(
        strange
    )
    assert "differ from one another; got a, a" in why(elsewhere("a"), elsewhere("a"))
    assert "got none" in why()
    empty = elsewhere("empty")
    nothing = tuple(replace(each, crowd=np.ones(len(each), bool)) for each in empty.splits["test"].objects or ())
    bare = replace(empty, splits={"test": replace(empty.splits["test"], objects=nothing)})
    assert "'empty' has no object of red, green, blue in its test images" in why(bare)
    assert "none of the corruptions that count" in why(corrupted(home, {"spatter/1": negative}))
    assert "one class an image" in why(replace(elsewhere("classes"), target="class"))


def test_a_detector_that_was_really_trained_is_tested_at_home_as_by_the_detection_task(tmp_path: Path) -> None:
    home, abroad = rectangles(train=8, test=6, outlined=False), elsewhere("away", negative)
    settings = {**NARROW, **EXACT, "epochs": 2, "milestones": (), "schedule": "cosine", "jitter": "none",
                "short_side": 64, "long_side": 96, "learning_rate": 2e-3, "score_threshold": 0.0}  # fmt: skip
    execution = Execution(workers=0)
    tools = Tools(lambda *given: np.zeros((0, 0)), execution)
    shifted = Answers(DetectionShift(**settings).run(BACKBONE, {"dataset": [home], "test": [abroad]}, tools, 0))
    plain = Answers(Detection(**settings).run(BACKBONE, {"dataset": [home]}, tools, 0))
    assert len(plain.outputs["test:detections"]["item"])
    for column, values in plain.outputs["test:detections"].items():
        np.testing.assert_array_equal(shifted.outputs[f"{HOME}:detections"][column], values)
    for (metric, split), score in plain.scores.items():
        assert (split, shifted(metric, HOME)) == ("test", score.value)
    assert shifted("drop", "away") == pytest.approx(plain("ap") - shifted("ap", "away"))


def test_the_preset_is_the_cascade_with_adamw_for_every_family() -> None:
    task = DetectionShift(preset="bob2023")  # type: ignore[call-arg]
    assert (task.detector, task.optimiser, task.learning_rate, task.trials) == ("cascade-rcnn", "adamw", 1e-4, 1)
    assert (task.epochs, task.milestones, task.warmup_iterations) == (36, (27, 33), 1000)
    assert (task.jitter, task.long_side, task.box_loss) == ("large-scale", 1024, "smooth-l1")
    assert {name for values in task.by_pyramid.values() for name in values} & {"optimiser", "learning_rate"} == set()
    assert task.non_defaults() == {"preset": "bob2023"}


def test_intervals_of_differences_and_means_are_those_of_the_bootstrap() -> None:
    """Of sample means, whose difference can be drawn again directly."""
    chance = np.random.default_rng(0)
    samples = [chance.beta(2, 5, 60), chance.beta(5, 2, 90)]
    draws = [chance.choice(each, (20000, len(each))).mean(1) for each in samples]

    def limited(value: float, drawn: np.ndarray) -> Limited:
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Limited(value, (float(low), float(high)))

    first, second = (limited(float(each.mean()), drawn) for each, drawn in zip(samples, draws, strict=True))
    for found, drawn in ((difference(first, second), draws[0] - draws[1]),
                         (mean_of_others([first, second]), (draws[0] + draws[1]) / 2)):  # fmt: skip
        expected = limited(float(drawn.mean()), drawn)
        assert found.value == pytest.approx(expected.value, abs=1e-3)
        assert found.interval == pytest.approx(expected.interval, abs=2e-3)
    same = mean_of_same([first, Limited(0.5, (0.4, 0.7))])
    assert first.interval is not None
    assert same.interval == pytest.approx(((first.interval[0] + 0.4) / 2, (first.interval[1] + 0.7) / 2))
    assert difference(first, Limited(0.5, None)).interval is None
