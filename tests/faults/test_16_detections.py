"""Case 16, detection: nothing found, images and classes without objects, and an annotation that is numbered 0."""

import numpy as np
import pytest

from tasks.base import Note, Score
from tasks.datasets.objects import Objects, no_objects
from tasks.detection.evaluation.report import evaluate
from tasks.detection.evaluation.tables import ImageDetections
from tests.detection_scenes import coco_dataset, coco_results, of_library

BOX = np.asarray([[10, 20, 110, 220]], np.float32)
OBJECT = Objects((300, 300), BOX, np.zeros(1, np.int64), np.full(1, 20_000, np.float32), np.zeros(1, bool))
RIGHT = ImageDetections(BOX, np.full(1, 0.9, np.float32), np.zeros(1, np.int64))
NOTHING = ImageDetections(BOX[:0], np.zeros(0, np.float32), np.zeros(0, np.int64))


def scores(found: list[ImageDetections], truths: list[Objects]) -> dict[str, float]:
    answers = evaluate(found, truths, [str(row) for row in range(len(found))], ["cat", "dog"])
    return {each.metric: each.value for each in answers if isinstance(each, Score)}


def test_a_perfect_detection_has_one_whatever_the_annotation_is_numbered() -> None:
    """pycocotools takes a match to annotation 0 for none; our objects have no numbers that could come from a file."""
    dataset = coco_dataset([OBJECT], 1)
    dataset["annotations"][0]["id"] = 0
    assert of_library("pycocotools", dataset, coco_results([RIGHT], "box"), "box")[0] == 0
    assert scores([RIGHT], [OBJECT])["ap"] == pytest.approx(1.0, abs=1e-12)


def test_no_detections_at_all_have_zero() -> None:
    values = scores([NOTHING, NOTHING], [OBJECT, OBJECT])
    assert {name: value for name, value in values.items() if name != "error_missed"} == dict.fromkeys(
        set(values) - {"error_missed"}, 0.0
    )
    assert values["error_missed"] == 1


def test_what_is_found_where_nothing_is_is_wrong() -> None:
    assert scores([RIGHT, RIGHT], [OBJECT, no_objects((300, 300))])["ap"] == pytest.approx(1.0)
    surer = RIGHT._replace(scores=np.full(1, 0.95, np.float32))
    assert scores([RIGHT, surer], [OBJECT, no_objects((300, 300))])["ap"] == pytest.approx(0.5)


def test_a_class_without_objects_is_left_out() -> None:
    other = ImageDetections(np.tile(BOX, (2, 1)), np.asarray([0.9, 0.8], np.float32), np.asarray([0, 1]))
    assert scores([other], [OBJECT])["ap"] == pytest.approx(1.0)
    notes = [each for each in evaluate([other], [OBJECT], ["a"], ["cat", "dog"]) if isinstance(each, Note)]
    assert next(each.value for each in notes if each.name == "ap_by_class")["dog"] is None


def test_no_objects_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="no object is annotated in any of 1 images"):
        scores([RIGHT], [no_objects((300, 300))])


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none of the 2 from 0; the first is row 0 of image '0'.*class 2"):
        scores([RIGHT._replace(labels=np.full(1, 2))], [OBJECT])
    with pytest.raises(ValueError, match=r"objects have a class that is none of the 2 from 0"):
        scores([RIGHT], [Objects(OBJECT.size, BOX, np.full(1, -1), OBJECT.areas, OBJECT.crowd)])
