"""What is right among detections, against pycocotools; what a mask's run lengths stand for."""

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results.detections import BOX, NEITHER, RIGHT, WRONG, Kept, judged, kept, mask_of, precision, surest

SIZE = 100.0


def random_answers(seed: int, images: int = 12, classes: int = 3) -> Kept:
    """Objects, some of them crowds, and detections near some of them; all scores differ."""
    generator = np.random.default_rng(seed)
    names = [f"{place:02}.jpg" for place in range(images)]
    objects = boxes(generator, names, 70, classes)
    objects["crowd"] = generator.random(len(objects)) < 0.15
    near = objects.sample(60, replace=True, random_state=seed)
    moved = near[BOX] + generator.normal(0, 2.5, (len(near), 4))
    found = pd.concat([near.assign(**moved), boxes(generator, names, 40, classes)], ignore_index=True)
    found["right"] = np.maximum(found["right"], found["left"] + 1)
    found["bottom"] = np.maximum(found["bottom"], found["top"] + 1)
    found["score"] = generator.permutation(len(found)) / len(found)
    images_table = pd.DataFrame({"item": names, "height": int(SIZE), "width": int(SIZE)})
    return Kept(images_table, found.drop(columns="crowd"), objects)


def boxes(generator: np.random.Generator, names: list[str], count: int, classes: int) -> pd.DataFrame:
    corner, side = generator.uniform(0, 60, (count, 2)), generator.uniform(8, 40, (count, 2))
    columns = dict(zip(BOX, [*corner.T, *(corner + side).T], strict=True))
    return pd.DataFrame(
        {"item": generator.choice(names, count), "label": generator.integers(0, classes, count), **columns}
    )


def evaluated_by_coco(answers: Kept) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
        return [
            {"id": place, "image_id": int(row["item"][:2]), "category_id": int(row["label"]),
             "bbox": [row["left"], row["top"], row["right"] - row["left"], row["bottom"] - row["top"]],
             "area": (row["right"] - row["left"]) * (row["bottom"] - row["top"]),
             "iscrowd": int(row.get("crowd", False)), "score": row.get("score", 1.0)}
            for place, row in enumerate(table.to_dict("records"), start=1)
        ]  # fmt: skip

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": int(name[:2])} for name in answers.images["item"]],
            "categories": [{"id": label} for label in range(3)],
            "annotations": rows(answers.objects),
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows(answers.detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_verdicts_and_curves_are_those_of_pycocotools(seed: int) -> None:
    answers = random_answers(seed)
    coco = evaluated_by_coco(answers)
    for place, overlap in ((0, 0.5), (5, 0.75)):
        verdicts, found = judged(answers, overlap)
        expected = np.full(len(verdicts), WRONG)
        taken = np.zeros(len(found), bool)
        for image in filter(None, coco.evalImgs[: 3 * 4 * len(answers.images)]):
            if image["aRng"] != coco.params.areaRng[0]:
                continue
            rows = np.asarray(image["dtIds"], int) - 1
            matched, ignored = image["dtMatches"][place].astype(int), image["dtIgnore"][place].astype(bool)
            expected[rows[matched > 0]] = RIGHT
            expected[rows[ignored]] = NEITHER
            taken[matched[(matched > 0) & ~ignored] - 1] = True
        assert verdicts.tolist() == expected.tolist()
        assert found.tolist() == taken.tolist()
        curve = coco.eval["precision"][place, :, :, 0, 2]  # (recalls, classes) of all areas, 100 detections
        np.testing.assert_allclose(precision(answers, verdicts), curve.mean(1), atol=1e-12)
    assert {WRONG, RIGHT, NEITHER} <= set(judged(answers, 0.5)[0].tolist()), "the data ask all of it"


def test_the_score_from_which_on_f1_is_best() -> None:
    answers = random_answers(0)
    verdicts, _ = judged(answers, 0.5)
    score, f1 = surest(answers, verdicts)
    scores, total = answers.detections["score"].to_numpy(), int((~answers.objects["crowd"]).sum())
    every = {}
    for least in scores:
        believed = (scores >= least) & (verdicts != NEITHER)
        right = (verdicts[believed] == RIGHT).sum()
        share, recall = right / max(1, believed.sum()), right / total
        every[least] = 0.0 if not right else 2 * share * recall / (share + recall)
    assert f1 == pytest.approx(max(every.values()))
    assert every[score] == pytest.approx(f1)


def test_no_detection_and_no_object_are_defined() -> None:
    answers = random_answers(1)
    nothing = Kept(answers.images, answers.detections.iloc[:0], answers.objects)
    verdicts, found = judged(nothing, 0.5)
    assert not found.any()
    assert precision(nothing, verdicts).tolist() == [0.0] * 101
    assert surest(nothing, verdicts) == (1.0, 0.0)
    empty = Kept(answers.images, answers.detections, answers.objects.iloc[:0])
    verdicts, _ = judged(empty, 0.5)
    assert set(verdicts.tolist()) == {WRONG}
    assert np.isnan(precision(empty, verdicts)).all()


def test_the_three_tables_of_each_test_set_are_told_apart() -> None:
    answers = random_answers(2)
    table = pd.concat(
        [
            each.assign(split=f"{name}{what}")
            for name in ("city", "fog")
            for what, each in (("", answers.images), (":detections", answers.detections), (":objects", answers.objects))
        ]
        + [pd.DataFrame({"split": ["other"], "item": ["a"]})],
        ignore_index=True,
    )
    parts = kept(table)
    assert list(parts) == ["city", "fog"]
    for part in parts.values():
        assert part.images["item"].tolist() == answers.images["item"].tolist()
        np.testing.assert_array_equal(part.detections[BOX], answers.detections[BOX])
        assert judged(part, 0.5)[0].tolist() == judged(answers, 0.5)[0].tolist()


def test_what_was_not_searched_for_is_never_wrong() -> None:
    """LVIS: an image is searched for the classes annotated in it and for those listed as absent."""
    answers = random_answers(3)
    images = answers.images.assign(absent="null", incomplete="null")
    images.loc[0, ["absent", "incomplete"]] = ["[2]", "[0]"]
    only = Kept(images, answers.detections, answers.objects[answers.objects["item"] != images["item"][0]])
    before, found = judged(Kept(answers.images, only.detections, only.objects), 0.5)
    after, still = judged(only, 0.5)
    assert (found == still).all()
    here = (only.detections["item"] == images["item"][0]).to_numpy()
    assert (before[~here] == after[~here]).all()
    labels = only.detections["label"].to_numpy()[here]
    assert set(before[here].tolist()) == {WRONG}
    assert after[here].tolist() == [WRONG if label == 2 else NEITHER for label in labels]
    assert set(labels.tolist()) == {0, 1, 2}


def test_masks_are_those_that_were_encoded() -> None:
    from pycocotools import mask as oracle

    drawn = np.random.default_rng(0).random((13, 7)) < 0.4
    text = oracle.encode(np.asfortranarray(drawn.astype(np.uint8)))["counts"].decode()
    found = mask_of(text, (13, 7))
    assert found is not None
    assert (found == drawn).all()
    assert mask_of(None, (13, 7)) is None
    assert mask_of(float("nan"), (13, 7)) is None
