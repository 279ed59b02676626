"""The objects of a Cityscapes image: what of each polygon is seen once all of them are painted, the last in front."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32
from PIL import Image, ImageDraw

from backbones.images import PIXEL_CAP
from tasks.datasets.annotated_images import Row
from tasks.datasets.cityscapes_labels import NUMBERS, UNPAINTED, WITH_INSTANCES
from tasks.datasets.outlines import RunLengths, outline_at

GROUP = "group"
"""The ending of a label of several objects that could not be told apart: a crowd here."""


class Painted(NamedTuple):
    """A polygon, its class, and whether it is several objects."""

    name: str
    crowd: bool
    corners: list[tuple[float, float]]


def read_polygons(data: bytes) -> tuple[list[Row], tuple[int, int]]:
    """The objects of the eight classes in painting order, and the image's (height, width).

    A box is the smallest around the pixels that are seen, as in the instance maps published beside the polygons; an
    object of which nothing is seen is none. Raises ``ValueError`` for what is none of Cityscapes' files.
    """
    try:
        content = json.loads(data)
        size = int(content["imgHeight"]), int(content["imgWidth"])
        painted = [Painted(*_class_of(each), _corners(each)) for each in content["objects"] if not each.get("deleted")]
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"is no file of polygons ({type(error).__name__}: {error})") from error
    if min(size) < 1 or size[0] * size[1] > PIXEL_CAP:
        raise ValueError(f"says that its image is {size[1]} x {size[0]}")
    painted = [each for each in painted if each.name != UNPAINTED and len(each.corners) > 1]
    canvas = _paint(painted, size)
    return [
        row
        for number, each in enumerate(painted, 1)
        if each.name in WITH_INSTANCES and (row := _seen(canvas, number, each))
    ], size


def _class_of(each: dict[str, Any]) -> tuple[str, bool]:
    """Its class, and whether it is several objects. Raises ``ValueError`` for a label that is none."""
    label = str(each["label"])
    if label in NUMBERS or label == UNPAINTED:
        return label, False
    if label.removesuffix(GROUP) in NUMBERS:
        return label.removesuffix(GROUP), True
    raise ValueError(f"has an object of an unknown label, {label!r}")


def _corners(each: dict[str, Any]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in each["polygon"]]


def _paint(painted: Sequence[Painted], size: tuple[int, int]) -> Int32[np.ndarray, "height width"]:
    """The number (from 1) of the polygon that is in front at each pixel; 0 where there is none."""
    canvas = Image.new("I", (size[1], size[0]), 0)
    drawer = ImageDraw.Draw(canvas)
    for number, each in enumerate(painted, 1):
        drawer.polygon(each.corners, fill=number)
    return np.asarray(canvas, dtype=np.int32)


def _seen(canvas: Int32[np.ndarray, "height width"], number: int, painted: Painted) -> Row | None:
    """What is seen of one polygon; only pixels around its corners are looked at, which is eight times as fast."""
    corners = np.asarray(painted.corners)
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    right, bottom = np.maximum(np.ceil(corners.max(axis=0)).astype(int) + 1, 0)
    columns, rows = np.nonzero(np.equal(canvas[top:bottom, left:right].T, number))
    if not len(rows):
        return None
    columns, rows = columns + left, rows + top
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    outline = outline_at(columns * canvas.shape[0] + rows, (canvas.shape[0], canvas.shape[1]))
    return Row(box, painted.name, painted.crowd, outline, float(len(rows)))


def to_text(rows: list[Row], size: tuple[int, int]) -> str:
    """What was read, to be remembered: painting a set takes minutes."""
    told = [[row.box, row.label, row.crowd, row.outline.counts.decode(), row.area] for row in rows]  # type: ignore[union-attr]
    return json.dumps([size, told])


def from_text(text: str) -> tuple[list[Row], tuple[int, int]]:
    """The reverse of :func:`to_text`."""
    (height, width), told = json.loads(text)
    return [
        Row(tuple(box), label, crowd, RunLengths((height, width), counts.encode()), area)
        for box, label, crowd, counts, area in told
    ], (height, width)
