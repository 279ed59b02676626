"""How much detections overlap with objects, as pairs of rows: intersection over union of boxes or of masks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from tasks.detection.evaluation.tables import Annotated, Found

Kind = Literal["box", "mask"]
Rows = Int64[np.ndarray, " _"]
Overlap = Float64[np.ndarray, " _"]


@dataclass(frozen=True)
class Pairs:
    """Detections and objects of one image that overlap: row ``i`` is one pair. Sorted by the detection's row."""

    found: Int64[np.ndarray, " pairs"]
    annotated: Int64[np.ndarray, " pairs"]
    overlap: Float64[np.ndarray, " pairs"]


def overlapping(
    found: Found, annotated: Annotated, classes: int, kind: Kind, least: float, across_classes: bool = False
) -> Pairs:
    """Pairs of an image (and a class, unless ``across_classes``) whose IoU is ``least``, a positive number, or more.

    Of a crowd region it is the share of the detection that lies in the region, as COCO's evaluation has it.
    """
    ours, theirs = found.image, annotated.image
    if not across_classes:
        ours, theirs = ours * classes + found.labels, theirs * classes + annotated.labels
    first, second = _pairs(ours, theirs)
    of = _of_masks if kind == "mask" else _of_boxes
    overlap = of(found, annotated, first, second, ours)
    near = overlap >= least
    return Pairs(first[near], second[near], overlap[near])


def _pairs(found: Rows, annotated: Rows) -> tuple[Rows, Rows]:
    """All pairs of rows with equal keys, by the first's row, then the second's."""
    order = np.argsort(annotated, kind="stable")
    keys = annotated[order]
    begin = np.searchsorted(keys, found)
    counts = np.searchsorted(keys, found, "right") - begin
    first = np.repeat(np.arange(len(found)), counts)
    within = np.arange(len(first)) - np.repeat(counts.cumsum() - counts, counts)
    return first, order[np.repeat(begin, counts) + within]


def _of_boxes(found: Found, annotated: Annotated, first: Rows, second: Rows, _: Rows) -> Overlap:
    ours, theirs = found.boxes.astype(np.float64).T[:, first], annotated.boxes.astype(np.float64).T[:, second]
    sides = np.minimum(ours[2:], theirs[2:]) - np.maximum(ours[:2], theirs[:2])
    common = sides.clip(0, out=sides).prod(axis=0)
    area = found.box_areas()[first]
    union = area + np.where(annotated.crowd[second], 0, annotated.box_areas()[second] - common)
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=common > 0))


def _of_masks(found: Found, annotated: Annotated, first: Rows, second: Rows, group: Rows) -> Overlap:
    """Group by group: the library reads every mask once a call, and looks at the boxes around them before anything."""
    from faster_coco_eval.core import mask  # half a second, and boxes need none of it

    assert found.outlines is not None
    assert annotated.outlines is not None
    ours = [{"size": list(each.size), "counts": each.counts} for each in found.outlines]
    theirs = [{"size": list(each.size), "counts": each.counts} for each in annotated.outlines]
    overlap = np.zeros(len(first))
    order = np.argsort(group[first], kind="stable")
    starts = np.flatnonzero(np.diff(group[first[order]], prepend=-1))
    for pairs in np.split(order, starts[1:]) if len(order) else ():
        rows = np.unique(first[pairs])
        columns = second[pairs[: len(pairs) // len(rows)]]
        crowd = annotated.crowd[columns].astype(int).tolist()
        found_here, annotated_here = [ours[row] for row in rows], [theirs[column] for column in columns]
        overlap[pairs] = np.asarray(mask.iou(found_here, annotated_here, crowd)).ravel()
    return overlap
