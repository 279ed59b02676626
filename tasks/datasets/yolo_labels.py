"""One image's objects in YOLO's text: a line an object, in parts of the image's width and height."""

import numpy as np

from tasks.datasets.annotated_images import Row
from tasks.datasets.outline_boxes import outline_boxes

BOX_FIELDS = 5
LEAST_OUTLINE_FIELDS = 7


def read_labels(data: bytes, size: tuple[int, int]) -> tuple[list[Row], list[str]]:
    """The objects of an image of ``size`` (height, width), and a word on each line that is none.

    A line of five fields is a class and a box (centre and extent), one of seven or more a class and a polygon.

    >>> rows, mistakes = read_labels(b"2 0.5 0.5 0.2 0.5", (100, 200))
    >>> rows[0].label, rows[0].box, mistakes
    (2, (80.0, 25.0, 120.0, 75.0), [])
    """
    rows, mistakes = list[Row](), list[str]()
    for place, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            rows.append(_row(fields, size))
        except ValueError:
            mistakes.append(f"line {place}: {line.strip()!r:.60}")
    return rows, mistakes


def _row(fields: list[str], size: tuple[int, int]) -> Row:
    height, width = size
    label, numbers = int(fields[0]), [float(field) for field in fields[1:]]
    if not np.isfinite(numbers).all():
        raise ValueError("no number")
    if len(fields) == BOX_FIELDS:
        x, y, w, h = numbers
        box = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
        return Row(box, label)
    if len(fields) < LEAST_OUTLINE_FIELDS or len(fields) % 2 == 0:
        raise ValueError("neither a box nor an outline")
    polygon = (np.asarray(numbers, np.float32).reshape(-1, 2) * np.asarray([width, height], np.float32)).reshape(-1)
    left, top, right, bottom = outline_boxes([(polygon,)])[0].tolist()
    return Row((left, top, right, bottom), label, outline=(polygon,), area=_area(polygon))


def _area(polygon: np.ndarray) -> float:
    """By the shoelace formula, as COCO states the areas of its polygons."""
    x, y = polygon[::2].astype(np.float64), polygon[1::2].astype(np.float64)
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
