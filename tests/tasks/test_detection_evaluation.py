"""The metrics of detection against pycocotools, faster-coco-eval and lvis, on made-up scenes and real annotations."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bob.answers import outputs_table
from tasks.base import Note, Outputs, Score
from tasks.datasets.objects import Objects
from tasks.datasets.outlines import RunLengths, outline_of
from tasks.detection.evaluation.error_types import KINDS, error_gains
from tasks.detection.evaluation.intervals import draws, intervals, paired
from tasks.detection.evaluation.measured import measured
from tasks.detection.evaluation.metrics import by_class, by_image, metrics
from tasks.detection.evaluation.report import evaluate, rescore
from tasks.detection.evaluation.stored import stored_tables
from tasks.detection.evaluation.tables import ImageDetections, tables
from tests.detection_scenes import STATISTICS, coco_dataset, coco_results, of_library, scenes

CLASSES = ("ant", "bee", "cat", "dog", "eel")


def names(count: int) -> list[str]:
    return [f"{row:04}.jpg" for row in range(count)]


def ours(found: list[ImageDetections], truths: list[Objects], kind: Any = "box", classes: int = 5) -> dict[str, float]:
    labels = [str(label) for label in range(classes)]
    return metrics(measured(tables(found, truths, names(len(found)), labels), classes, kind))


def as_coco(values: dict[str, float]) -> list[float]:
    """COCO says -1 where there is no object."""
    return [-1.0 if np.isnan(values[name]) else values[name] for name in STATISTICS]


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_as_the_libraries(kind: str, seed: int) -> None:
    found, truths = scenes(seed, masks=kind == "mask")
    dataset, results = coco_dataset(truths, 5), coco_results(found, kind)
    for library in ("pycocotools", "faster-coco-eval"):
        expected = of_library(library, dataset, results, kind)
        assert 0.05 < expected[0] < 0.95
        assert as_coco(ours(found, truths, kind)) == pytest.approx(expected, abs=1e-9)


def test_equal_scores_and_more_than_a_hundred_of_a_class() -> None:
    """Ties go by image, then by place; the 101st detection of a class in an image is not looked at."""
    found, truths = scenes(2, images=6, classes=1, detections=130)
    found = [each._replace(scores=np.round(each.scores * 8).astype(np.float32) / 8) for each in found]
    expected = of_library("pycocotools", coco_dataset(truths, 1), coco_results(found, "box"), "box")
    assert as_coco(ours(found, truths, classes=1)) == pytest.approx(expected, abs=1e-9)


def real_json(archive: str, member: str) -> dict[str, Any]:
    if "BOB_DATA" not in os.environ:
        pytest.skip("BOB_DATA does not say where the real data is")
    with zipfile.ZipFile(Path(os.environ["BOB_DATA"]) / archive) as zipped:
        path = next(name for name in zipped.namelist() if name.endswith(member))
        return dict(json.loads(zipped.read(path)))


def real_objects(dataset: dict[str, Any], masks: bool) -> list[Objects]:
    """What a reader makes of a COCO file."""
    place = {category["id"]: label for label, category in enumerate(dataset["categories"])}
    truths = []
    for image in dataset["images"]:
        rows = [each for each in dataset["annotations"] if each["image_id"] == image["id"]]
        boxes = np.asarray([each["bbox"] for each in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        truths.append(
            Objects(
                (image["height"], image["width"]),
                boxes.astype(np.float32),
                np.asarray([place[each["category_id"]] for each in rows], np.int64),
                np.asarray([each["area"] for each in rows], np.float32),
                np.asarray([each["iscrowd"] for each in rows], bool),
                tuple(tuple(np.asarray(part, np.float32) for part in each["segmentation"]) for each in rows)
                if masks
                else None,
            )
        )
    return truths


def guesses(truths: list[Objects], classes: int) -> list[ImageDetections]:
    """Three detections an object, moved by up to a fifth of its sides; one in five of another class."""
    generator, found = np.random.default_rng(0), []
    for objects in truths:
        row = np.repeat(np.arange(len(objects)), 3)
        boxes = objects.boxes[row]
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        moved = (boxes + sides * generator.normal(0, 0.08, boxes.shape)).astype(np.float32)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        wrong = generator.random(len(row)) < 0.2
        labels = np.where(wrong, generator.integers(0, classes, len(row)), objects.labels[row])
        outlines = None if objects.outlines is None else tuple(moved_mask(objects, each, generator) for each in row)
        scores = generator.random(len(row), dtype=np.float32)
        found.append(ImageDetections(moved, scores, labels, outlines))
    return found


def moved_mask(objects: Objects, row: int, generator: np.random.Generator) -> RunLengths:
    from tasks.datasets.outlines import mask_of

    assert objects.outlines is not None
    width, height = objects.boxes[row, 2:] - objects.boxes[row, :2]
    by = np.rint(generator.normal(0, 0.08, 2) * (height, width)).astype(int)
    return outline_of(np.roll(mask_of(objects.outlines[row], objects.size), by, axis=(0, 1)))


@pytest.mark.parametrize(
    ("archive", "member", "kind"),
    [
        ("coco_mini.zip", "instances_box_train.json", "box"),
        ("coco_mini.zip", "instances_seg_val.json", "box"),
        ("coco_mini.zip", "instances_seg_val.json", "mask"),
        ("bccd_detection.zip", "test.json", "box"),
    ],
)
def test_the_same_as_the_libraries_on_real_annotations(archive: str, member: str, kind: str) -> None:
    """As their file has them, with its own numbers of images and classes, one annotation in fifteen made a crowd."""
    dataset = real_json(archive, member)
    for row, annotation in enumerate(dataset["annotations"]):
        annotation["iscrowd"] = int(row % 15 == 7)
    truths = real_objects(dataset, kind == "mask")
    classes = len(dataset["categories"])
    found = guesses(truths, classes)
    results = coco_results(found, kind)
    for each in results:
        each["image_id"] = dataset["images"][each["image_id"] - 1]["id"]
        each["category_id"] = dataset["categories"][each["category_id"] - 1]["id"]
    values = as_coco(ours(found, truths, kind, classes))
    for library in ("pycocotools", "faster-coco-eval"):
        expected = of_library(library, dataset, results, kind)
        assert 0.1 < expected[0] < 0.9
        assert values == pytest.approx(expected, abs=1e-6)


def federated(seed: int) -> tuple[list[ImageDetections], list[Objects], tuple[Any, ...], dict[str, Any]]:
    """Images searched for the classes that are there and two others; one class an image is not exhaustive."""
    generator = np.random.default_rng(seed)
    found, truths = scenes(seed, classes=8, detections=340, images=24)
    asked = []
    for each in truths:
        present = np.unique(each.labels)
        absent = np.setdiff1d(np.arange(8), present)[:2]
        incomplete = generator.permutation(np.concatenate([present, absent]))[:1]
        crowd = np.zeros(len(each), bool)
        asked.append(
            Objects(
                *(each.size, each.boxes, each.labels, each.areas, crowd),
                absent=tuple(absent.tolist()),
                incomplete=tuple(incomplete.tolist()),
            )
        )
    frequency = ("r", "r", "c", "c", "c", "f", "f", "f")
    dataset = coco_dataset(asked, 8)
    for image, each in zip(dataset["images"], asked, strict=True):
        image["neg_category_ids"] = [label + 1 for label in each.absent or ()]
        image["not_exhaustive_category_ids"] = [label + 1 for label in each.incomplete or ()]
    for category, letter in zip(dataset["categories"], frequency, strict=True):
        category["frequency"] = letter
    return found, asked, frequency, dataset


def test_the_same_as_lvis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lvis = pytest.importorskip("lvis")
    monkeypatch.setattr(np, "float", float, raising=False)  # which numpy dropped and lvis asks for
    found, truths, frequency, dataset = federated(0)
    (tmp_path / "lvis.json").write_text(json.dumps(dataset))
    asked = lvis.LVISEval(lvis.LVIS(str(tmp_path / "lvis.json")), coco_results(found, "box"), "bbox")
    asked.run()
    results = asked.get_results()
    values = metrics(measured(tables(found, truths, names(24), "abcdefgh"), 8), frequency, federated=True)
    named = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "APs": "ap_small", "APm": "ap_medium", "APl": "ap_large"}
    named |= {"APr": "ap_rare", "APc": "ap_common", "APf": "ap_frequent", "AR@300": "ar300"}
    named |= {"ARs@300": "ar_small", "ARm@300": "ar_medium", "ARl@300": "ar_large"}
    assert set(named) == set(results)
    for theirs, name in named.items():
        assert values[name] == pytest.approx(results[theirs], abs=1e-9), name
    assert values["ap_rare"] != pytest.approx(values["ap_frequent"], abs=1e-3)


def test_what_was_not_searched_for_is_no_error() -> None:
    """Of a class that is neither annotated nor known to be absent nothing is wrong; nor of one that is incomplete."""
    box = np.asarray([[0, 0, 10, 10], [50, 50, 80, 80]], np.float32)
    none = np.zeros(1, bool)

    def image(absent: tuple[int, ...], incomplete: tuple[int, ...]) -> Objects:
        label, area = np.zeros(1, np.int64), np.full(1, 100, np.float32)
        return Objects((99, 99), box[:1], label, area, none, absent=absent, incomplete=incomplete)

    def value(objects: Objects, labels: list[int]) -> float:
        found = ImageDetections(box[::-1].copy(), np.asarray([0.9, 0.5], np.float32), np.asarray(labels, np.int64))
        other = Objects((99, 99), box[1:], np.ones(1, np.int64), np.full(1, 900, np.float32), none, absent=())
        right = ImageDetections(box[1:], np.asarray([0.8], np.float32), np.ones(1, np.int64))
        values = metrics(measured(tables([found, right], [objects, other], ["a", "b"], ["x", "y"]), 2), federated=True)
        return values["ap50"]

    assert value(image((), ()), [1, 0]) == 1
    assert value(image((1,), ()), [1, 0]) == pytest.approx(0.75)  # 1 of x, 1/2 of y
    assert value(image((1,), (1,)), [1, 0]) == 1
    assert value(image((), ()), [0, 0]) == pytest.approx(0.75)
    assert value(image((), (0,)), [0, 0]) == 1


def test_a_draw_is_the_evaluation_of_the_images_drawn() -> None:
    found, truths = scenes(3)
    asked = measured(tables(found, truths, names(40), CLASSES), 5)
    generator = np.random.default_rng(0)
    curve = asked.curve()
    for _ in range(4):
        rows = np.sort(generator.integers(0, 40, 40))  # copies are images of their own
        drawn = [found[row] for row in rows], [truths[row] for row in rows]
        expected = of_library("faster-coco-eval", coco_dataset(drawn[1], 5), coco_results(drawn[0], "box"), "box")
        precision = curve.precision(np.bincount(rows, minlength=40).astype(np.float64))
        assert [np.nanmean(precision), np.nanmean(precision[0])] == pytest.approx(expected[:2], abs=1e-9)


def test_an_interval_is_the_draws_laid_around_the_value() -> None:
    found, truths = scenes(3)
    asked = measured(tables(found, truths, names(40), CLASSES), 5)
    for spread, name in zip(draws(asked), ("ap", "ap50"), strict=True):
        value, ends = metrics(asked)[name], intervals(asked)[name]
        assert ends == pytest.approx(np.quantile(spread, [0.025, 0.975]) - spread.mean() + value, abs=1e-12)
        assert 0 < ends[0] < value < ends[1] < 1


def test_a_class_that_was_not_drawn_is_left_out() -> None:
    found, truths = scenes(4, images=3, classes=2, objects=2)
    asked = measured(tables(found, truths, names(3), "ab"), 2)
    weights = np.asarray([1.0, 0, 0])  # the first image has no objects
    assert np.isnan(asked.curve().precision(weights)).all()
    assert np.isnan(draws(asked)).any()
    low, high = intervals(asked)["ap"] or (np.nan, np.nan)
    assert 0 <= low <= high <= 1


def test_a_paired_comparison_tells_apart_what_two_intervals_do_not() -> None:
    found, truths = scenes(5, images=80)
    worse = [each._replace(scores=each.scores - 0.02 * (np.arange(len(each.scores)) % 3 == 0)) for each in found]
    worse = [each._replace(scores=each.scores.astype(np.float32)) for each in worse]
    first, second = (tables(each, truths, names(80), CLASSES) for each in (worse, found))
    found_difference = paired(first, second, CLASSES)["ap"]
    separate = [measured(each, 5) for each in (first, second)]
    expected = metrics(separate[1])["ap"] - metrics(separate[0])["ap"]
    assert found_difference.value == pytest.approx(expected, abs=1e-12)
    assert found_difference.interval is not None
    low, high = found_difference.interval
    alone = intervals(separate[0])["ap"]
    assert alone is not None
    assert low <= found_difference.value <= high
    assert high - low < 0.5 * (alone[1] - alone[0])
    assert paired(first, first, CLASSES)["ap"] == (0.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="same images"):
        paired(first, tables(found[:-1], truths[:-1], names(79), CLASSES), CLASSES)
    moved = [Objects(each.size, each.boxes, each.labels, each.areas + 1, each.crowd) for each in truths]
    with pytest.raises(ValueError, match="objects' areas differ"):
        paired(first, tables(found, moved, names(80), CLASSES), CLASSES)


@pytest.mark.parametrize("masks", [False, True])
def test_stored_outputs_give_the_same_scores(tmp_path: Path, masks: bool) -> None:
    found, truths = scenes(6, images=15, masks=masks)
    answers = list(evaluate(found, truths, names(15), CLASSES))
    pq.write_table(outputs_table(answers), tmp_path / "outputs.parquet")
    again = list(rescore(pq.read_table(tmp_path / "outputs.parquet"), CLASSES))
    assert again == [each for each in answers if not isinstance(each, Outputs)]
    assert next(each.metric for each in again if isinstance(each, Score)) == "ap"
    assert any(each.metric == "mask_ap50" for each in again if isinstance(each, Score)) == masks
    images, detections, objects = (each for each in answers if isinstance(each, Outputs))
    assert [each.split for each in (images, detections, objects)] == ["test", "test:detections", "test:objects"]
    assert images.columns["detections"].sum() == len(detections.columns["item"]) == sum(len(e.labels) for e in found)
    assert images.columns["objects"].sum() == len(objects.columns["item"]) == sum(len(each) for each in truths)


def test_stored_outputs_of_federated_images(tmp_path: Path) -> None:
    found, truths, frequency, _ = federated(1)
    answers = list(evaluate(found, truths, names(24), "abcdefgh", frequency, split="lvis"))
    pq.write_table(outputs_table(answers), tmp_path / "outputs.parquet")
    table = pq.read_table(tmp_path / "outputs.parquet")
    assert list(rescore(table, "abcdefgh", frequency, "lvis")) == [e for e in answers if not isinstance(e, Outputs)]
    assert {"ap_rare", "ar300"} <= {each.metric for each in answers if isinstance(each, Score)}
    with pytest.raises(KeyError, match="the table has lvis, lvis:detections, lvis:objects"):
        stored_tables(table)


def test_quality_of_an_image_is_that_of_a_set_of_it_alone() -> None:
    found, truths = scenes(7, images=10, classes=1)
    quality = by_image(measured(tables(found, truths, names(10), "a"), 1))
    for row, (detections, objects) in enumerate(zip(found, truths, strict=True)):
        if (~objects.crowd).any():
            assert quality[row] == pytest.approx(ours([detections], [objects], classes=1)["ap50"], abs=1e-12)
        else:
            assert np.isnan(quality[row])


def test_precision_of_each_class() -> None:
    found, truths = scenes(8)
    values = by_class(measured(tables(found, truths, names(40), (*CLASSES, "never")), 6))
    for label in range(5):
        kept = [np.flatnonzero(each.labels == label) for each in found]
        alone = [
            ImageDetections(each.boxes[rows], each.scores[rows], each.labels[rows])
            for each, rows in zip(found, kept, strict=True)
        ]
        mine = [np.flatnonzero(each.labels == label) for each in truths]
        objects = [
            Objects(each.size, each.boxes[rows], each.labels[rows], each.areas[rows], each.crowd[rows])
            for each, rows in zip(truths, mine, strict=True)
        ]
        assert values[label] == pytest.approx(ours(alone, objects)["ap"], abs=1e-12)
    assert np.isnan(values[5])


BOX, FAR, NEAR = (0, 0, 40, 40), (100, 100, 140, 140), (0, 0, 40, 14)
"""NEAR overlaps BOX by 0.35, FAR not at all."""
ELSEWHERE = (200, 0, 240, 40)
CASES: dict[str, tuple[list[Any], list[Any], float]] = {
    # objects (box, class), detections (box, class, score), what setting the error right gains
    "classification": ([(BOX, 0), (FAR, 1)], [(BOX, 1, 0.9), (FAR, 1, 0.5)], 1 - (0 + 1 / 2) / 2),
    "localisation": ([(BOX, 0)], [(NEAR, 0, 0.9)], 1.0),
    "both": ([(BOX, 0), (FAR, 1)], [(BOX, 0, 0.5), (NEAR, 1, 0.9), (FAR, 1, 0.5)], 1 - (1 + 1 / 2) / 2),
    "duplicate": ([(BOX, 0), (FAR, 0)], [(BOX, 0, 0.9), (BOX, 0, 0.8), (FAR, 0, 0.5)], 1 - (51 + 50 * 2 / 3) / 101),
    "background": ([(BOX, 0)], [(ELSEWHERE, 0, 0.9), (BOX, 0, 0.5)], 1 / 2),
    "missed": ([(BOX, 0), (FAR, 0)], [(BOX, 0, 0.9)], 1 - 51 / 101),
}


def judged(objects: list[Any], detections: list[Any]) -> dict[str, float]:
    boxes = np.asarray([box for box, _ in objects], np.float32)
    labels = np.asarray([label for _, label in objects], np.int64)
    areas = np.full(len(objects), 1600, np.float32)
    truth = Objects((300, 300), boxes, labels, areas, np.zeros(len(objects), bool))
    found = ImageDetections(
        np.asarray([box for box, *_ in detections], np.float32).reshape(-1, 4),
        np.asarray([score for *_, score in detections], np.float32),
        np.asarray([label for _, label, _ in detections], np.int64),
    )
    return error_gains(measured(tables([found], [truth], ["a"], "xy"), 2))


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_error_alone(kind: str) -> None:
    objects, detections, gain = CASES[kind]
    assert judged(objects, detections) == pytest.approx({each: gain * (each == kind) for each in KINDS}, abs=1e-9)


def test_errors_where_several_would_find_one_object() -> None:
    """Of two of a wrong class the surest finds the object, the other is taken away; then nothing is missed."""
    gains = judged([(BOX, 0), (FAR, 1)], [(BOX, 1, 0.9), (BOX, 1, 0.8), (FAR, 1, 0.5)])
    assert gains["classification"] == pytest.approx(1 - (0 + 1 / 3) / 2)
    assert gains["missed"] == 0


def test_nothing_found_is_all_missed() -> None:
    assert judged([(BOX, 0)], []) == {kind: float(kind == "missed") for kind in KINDS}
    only_vain = judged([(BOX, 0)], [(ELSEWHERE, 0, 0.9)])
    assert only_vain == dict.fromkeys(KINDS, 0.0)  # neither alone helps


def test_notes_name_classes_and_what_could_not_be_measured() -> None:
    found, truths = scenes(9, images=8, objects=1)
    none_small = [Objects(each.size, each.boxes, each.labels, 0 * each.areas + 5000, each.crowd) for each in truths]
    notes = {each.name: each.value for each in evaluate(found, none_small, names(8), CLASSES) if isinstance(each, Note)}
    assert notes["no objects to be found for"] == ["ap_small", "ap_large", "ar_small", "ar_large"]
    assert list(notes["ap_by_class"]) == list(CLASSES)
    scores = [each for each in evaluate(found, none_small, names(8), CLASSES) if isinstance(each, Score)]
    assert all(np.isfinite(each.value) for each in scores)
    with pytest.raises(ValueError, match="2 frequencies are given for 5 classes"):
        list(evaluate(found, truths, names(8), CLASSES, ("r", "c")))
