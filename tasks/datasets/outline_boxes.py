"""The boxes around many outlines at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from tasks.datasets.outlines import Outline, RunLengths


def outline_boxes(outlines: Sequence[Outline]) -> Float64[np.ndarray, "n 4"]:
    """Left, top, right, bottom of each; zeros around nothing. Polygons may lie out of their image.

    >>> outline_boxes([(np.asarray([1, 1, 5, 1, 5, 4], np.float32),)]).tolist()
    [[1.0, 1.0, 5.0, 4.0]]
    """
    boxes = np.zeros((len(outlines), 4))
    coded = [(place, each) for place, each in enumerate(outlines) if isinstance(each, RunLengths)]
    if coded:
        from faster_coco_eval.core import mask  # half a second, and most datasets have no outlines

        found = np.asarray(mask.toBbox([{"size": list(each.size), "counts": each.counts} for _, each in coded]))
        boxes[[place for place, _ in coded]] = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    drawn = [(place, each) for place, each in enumerate(outlines) if not isinstance(each, RunLengths) and each]
    if drawn:
        corners = np.concatenate([part for _, parts in drawn for part in parts]).reshape(-1, 2).astype(np.float64)
        lengths = [sum(len(part) for part in parts) // 2 for _, parts in drawn]
        starts = np.cumsum([0, *lengths[:-1]])
        places = [place for place, _ in drawn]
        boxes[places, :2] = np.minimum.reduceat(corners, starts)
        boxes[places, 2:] = np.maximum.reduceat(corners, starts)
    return boxes
