"""Objects of a split checked all at once, against each image checked by itself, box by box."""

import numpy as np
import pytest

from tasks.datasets.object_checks import Annotations, Findings, Pictured, checked
from tasks.datasets.outline_boxes import outline_boxes
from tasks.datasets.outlines import box_of, mask_of, outline_of


def written(generator: np.random.Generator, count: int, images: int) -> Annotations:
    """Some boxes leave their image, some have no width, some are NaN."""
    corners = generator.uniform(-30, 90, (count, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(-5, 60, (count, 2))], axis=1)
    boxes[generator.random(count) < 0.1, 2] = np.nan
    return Annotations(
        image=generator.integers(0, images, count),
        boxes=boxes,
        labels=generator.integers(0, 4, count),
        areas=np.where(generator.random(count) < 0.5, np.nan, generator.uniform(0, 900, count)),
        crowd=generator.random(count) < 0.2,
        name=lambda row: f"box {row}",
    )


def test_every_image_is_as_if_it_were_checked_alone() -> None:
    generator = np.random.default_rng(0)
    images = [Pictured(f"{row}.jpg", (int(generator.integers(20, 90)), 64)) for row in range(12)]
    given = written(generator, 300, len(images))
    findings = Findings()
    found = checked("train", images, given, findings, drop_bad_boxes=True)
    beyond = kept = 0
    for place, (image, own) in enumerate(zip(images, found, strict=True)):
        assert image.size is not None
        expected = []
        for row in np.flatnonzero(given.image == place):
            left, top, right, bottom = given.boxes[row].tolist()
            inside = max(left, 0.0), max(top, 0.0), min(right, 64.0), min(bottom, float(image.size[0]))
            if right > left and bottom > top and inside[2] > inside[0] and inside[3] > inside[1]:
                expected.append((row, inside))
                beyond += max(abs(a - b) for a, b in zip(inside, given.boxes[row], strict=True)) > 1
        rows = [row for row, _ in expected]
        assert np.array_equal(own.boxes, np.asarray([box for _, box in expected], np.float32).reshape(-1, 4))
        assert own.labels.tolist() == given.labels[rows].tolist()
        assert own.crowd.tolist() == given.crowd[rows].tolist()
        of_box = (own.boxes[:, 2] - own.boxes[:, 0]) * (own.boxes[:, 3] - own.boxes[:, 1])
        stated = given.areas[rows]
        assert own.areas == pytest.approx(np.where(np.isnan(stated), of_box, stated))
        kept += len(own)
    counts = [int(line.split()[0]) for line in findings.warnings]
    assert sum(counts[:-1]) == len(given) - kept
    assert findings.warnings[-1].startswith(f"{beyond} boxes in train leave their image")
    assert 0 < kept < len(given)


def test_objects_of_an_image_that_cannot_be_read_are_passed_over() -> None:
    generator = np.random.default_rng(1)
    findings = Findings()
    images = [Pictured("gone.jpg", None), Pictured("empty.jpg", (10, 10))]
    assert [*map(len, checked("val", images, written(generator, 20, 1), findings, drop_bad_boxes=False))] == [0, 0]
    assert findings.finish("set") == ()


def test_boxes_around_many_outlines_are_those_around_each_mask() -> None:
    generator = np.random.default_rng(2)
    outlines = []
    for _ in range(20):
        mask = np.zeros((40, 50), np.uint8)
        top, left = generator.integers(0, 30, 2)
        mask[top : top + generator.integers(1, 9), left : left + generator.integers(1, 9)] = 1
        box = box_of(mask)
        corners = np.asarray([box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]], np.float32)
        outlines += [outline_of(mask), (corners, np.asarray([box[0], box[1]] * 3, np.float32)), ()]
    expected = [box_of(mask_of(outline, (40, 50))) if outline else np.zeros(4) for outline in outlines]
    assert np.array_equal(outline_boxes(outlines), expected)
