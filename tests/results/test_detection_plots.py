"""Plots of made detection records: drawn is what they hold, and boxes are told apart without colour."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from results.detections import BOX
from results.plots import detection_errors, detections, precision_recall
from results.plots.base import Evidence, Picture
from results.record import Cell, Record, ScoreRow

HOSTILE = ("$\\alpha$ and $x", "_hidden", "two\nlines", "x" * 500)


def row(item: str, label: int, box: tuple[float, float, float, float], **more: Any) -> dict[str, Any]:
    return {"item": item, "label": label, **dict(zip(BOX, box, strict=True)), **more}


def outputs(split: str = "test", count: int = 9) -> pd.DataFrame:
    """An image each with a found object, a missed one, a wrong detection and one in a crowd; image 0 has no objects."""
    images, objects, found = [], [], []
    for place in range(count):
        item = f"folder/{place}.jpg"
        ap50 = np.nan if place == 0 else place / count
        images.append({"item": item, "height": 80, "width": 100, "objects": 2 * (place > 0), "ap50": ap50})
        if place == 0:
            continue
        objects += [row(item, 0, (10, 10, 30, 30), crowd=False), row(item, 1, (60, 20, 90, 70), crowd=False),
                    row(item, 1, (0, 50, 50, 80), crowd=True)]  # fmt: skip
        found += [row(item, 0, (11, 10, 30, 30), score=0.9), row(item, 0, (40, 40, 55, 60), score=0.95),
                  row(item, 1, (5, 55, 20, 70), score=0.7), row(item, 1, (60, 20, 90, 40), score=0.01)]  # fmt: skip
    parts = {split: images, f"{split}:detections": found, f"{split}:objects": objects}
    return pd.concat([pd.DataFrame(rows).assign(split=name) for name, rows in parts.items()], ignore_index=True)


def record(make: Callable[..., Record], backbone: str, scores: dict[str, float], split: str = "test") -> Record:
    return make(backbone, task="detection").model_copy(
        update={
            "scores": [ScoreRow(metric=metric, split=split, value=value) for metric, value in scores.items()],
            "cell": Cell(backbone=backbone, task="detection", datasets={"dataset": ["coco:mine"]}),
            "notes": {"classes": ["ca$t", "dog"]},
        }
    )


def draw(plot: Any, records: list[Record], table: pd.DataFrame | None, images: Any = None) -> list[Any]:
    return list(plot.draw(Evidence(records, lambda record: table, images)))


def blank(role: str, item: str) -> np.ndarray:
    return np.full((40, 50, 3), 200, np.uint8)


def boxes_of(panel: Any) -> list[tuple[tuple[float, ...], str, str]]:
    """(box, line, colour) of every box drawn, without the white bands under them."""
    patches = [patch for patch in panel.patches if isinstance(patch, Rectangle)]
    return [(patch.get_bbox().extents, patch.get_linestyle(), patch.get_edgecolor()) for patch in patches][1::2]


def test_boxes_that_are_right_wrong_and_missed(make: Callable[..., Record]) -> None:
    asked: list[tuple[str, str]] = []

    def images(role: str, item: str) -> np.ndarray:
        asked.append((role, item))
        return blank(role, item)

    (picture,) = draw(detections, [record(make, "a", {"ap": 0.4})], outputs(), lambda record: images)
    assert asked == [("test", f"folder/{place}.jpg") for place in (8, 7, 6, 5, 1, 2, 3, 4)]
    for panel in picture.figure.axes:
        drawn = boxes_of(panel)
        assert [tuple(box) for box, _, _ in drawn] == [(60, 20, 90, 70), (11, 10, 30, 30), (40, 40, 55, 60)]
        assert len({line for _, line, _ in drawn}) == len({colour for _, _, colour in drawn}) == 3
        tags = {text.get_text() for text in panel.texts}
        assert tags == {"? dog", "✗ ca\\$t 0.95", "✓ ca\\$t 0.90"}
        assert panel.get_title(loc="left").endswith("✓ 1  ✗ 1  ? 1")
        assert panel.get_xlim() == (0, 100)
        assert panel.get_ylim() == (80, 0)
    assert "AP 0.400" in picture.figure.get_suptitle()


def test_masks_are_shaded_where_they_are(make: Callable[..., Record]) -> None:
    from pycocotools import mask

    table = outputs(count=2)
    drawn = np.zeros((80, 100), np.uint8)
    drawn[12:25, 13:28] = 1
    table["mask"] = None
    sure = (table["split"] == "test:detections") & (table["score"] == 0.9)
    table.loc[sure, "mask"] = mask.encode(np.asfortranarray(drawn))["counts"].decode()
    (picture,) = draw(detections, [record(make, "a", {})], table, lambda record: blank)
    panel = picture.figure.axes[0]
    _, veil = panel.images
    np.testing.assert_array_equal(np.asarray(veil.get_array())[..., 3] > 0, drawn.astype(bool))


def test_no_image_is_among_the_best_and_the_worst() -> None:
    for count in range(1, 12):
        table = outputs(count=count)
        best, worst = detections.extremes(table[table["split"] == "test"])
        assert not set(best["item"]) & set(worst["item"])
        assert len(best) + len(worst) == min(count - 1, 8)
        assert best["ap50"].min() > worst["ap50"].max() or not len(worst)


def test_every_test_set_has_a_picture_of_its_own(make: Callable[..., Record]) -> None:
    table = pd.concat([outputs("home"), outputs("fog/3")], ignore_index=True)
    asked: set[str] = set()

    def images(role: str, item: str) -> np.ndarray:
        asked.add(role)
        return blank(role, item)

    pictures = draw(detections, [record(make, "a", {"ap": 0.5}, "fog/3")], table, lambda record: images)
    assert [picture.shows[2] for picture in pictures] == ["home", "fog/3"]
    assert asked == {"home", "fog/3"}


def test_missing_images_are_told_once_a_dataset(make: Callable[..., Record]) -> None:
    def missing(record: Record) -> Any:
        raise FileNotFoundError("no file d.zip")

    records = [record(make, name, {}) for name in ("a", "b")]
    assert draw(detections, records, outputs(), missing) == ["detection coco:mine: no file d.zip"]


def test_errors_are_bars_of_what_they_cost_the_best_on_top(make: Callable[..., Record]) -> None:
    costs = {kind: place / 100 for place, kind in enumerate(detection_errors.KINDS, start=1)}
    records = [
        record(make, name, {"ap": ap, **{f"error_{kind}": cost * scale for kind, cost in costs.items()}})
        for name, ap, scale in (("worse", 0.2, 2), ("better", 0.4, 1))
    ]
    (picture,) = draw(detection_errors, records, None)
    assert [panel.get_title() for panel in picture.figure.axes] == list(costs)
    for panel, cost in zip(picture.figure.axes, costs.values(), strict=True):
        assert [bar.get_width() for bar in panel.patches] == pytest.approx([cost, 2 * cost])
        assert len({panel.get_xlim() for panel in picture.figure.axes}) == 1
    assert [label.get_text() for label in picture.figure.axes[0].get_yticklabels()] == ["better", "worse"]


def test_the_area_under_a_precision_curve_is_average_precision(make: Callable[..., Record]) -> None:
    (picture,) = draw(precision_recall, [record(make, "a", {})], outputs())
    half, strict = picture.figure.axes
    right_of_class_0 = 0.5  # at any recall: all the wrong ones come first, as many
    for panel in (half, strict):
        (line,) = panel.lines
        assert np.asarray(line.get_ydata()) == pytest.approx(np.full(101, np.mean([right_of_class_0, 0])))


@pytest.mark.parametrize("count", [1, len(HOSTILE)])
def test_any_number_of_backbones_of_any_name(make: Callable[..., Record], count: int) -> None:
    errors = {f"error_{kind}": 0.1 for kind in detection_errors.KINDS}
    records = [record(make, name, {"ap": 0.5, **errors}) for name in HOSTILE[:count]]
    for plot, wanted in ((detections, count), (detection_errors, 1), (precision_recall, 1)):
        pictures = [each for each in draw(plot, records, outputs(), lambda record: blank) if isinstance(each, Picture)]
        assert len(pictures) == wanted
        for picture in pictures:
            picture.figure.savefig(io.BytesIO(), format="png", dpi=40)
            for panel in picture.figure.axes:
                assert panel.get_window_extent().width > 30


def test_nothing_to_draw_is_no_picture(make: Callable[..., Record]) -> None:
    for plot in (detections, detection_errors, precision_recall):
        assert draw(plot, [record(make, "a", {"ap": 0.5})], None) == []
