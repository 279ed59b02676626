"""COCO's segmentations as outlines: polygons, and run lengths as a list of counts or compressed to a text."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tasks.datasets.outlines import Outline, Polygons, RunLengths

FEWEST = 6
"""Numbers of a polygon: three corners. COCO has parts of fewer, which enclose nothing and are passed over."""


def outlines_of(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int] | None]
) -> tuple[list[Outline | None] | None, list[int]]:
    """The outline of each object in an image of its ``size`` (height, width), and the rows that state none.

    None instead of the outlines where no object states one. In their list, None is for a segmentation that is none: no
    polygon of three corners, numbers that are not finite, a corner further from the image than the image is large
    (rasterising it would take the memory of the plane around it), run lengths that do not fill the image. Objects of an
    image without a size have no checks and no outline.
    """
    lacking = [row for row, each in enumerate(segmentations) if not each]
    if len(lacking) == len(segmentations):
        return None, []
    polygons = _polygons(segmentations, sizes)
    return [
        _run_lengths(each, size) if isinstance(each, Mapping) and size is not None else drawn
        for each, size, drawn in zip(segmentations, sizes, polygons, strict=True)
    ], lacking


def _polygons(segmentations: Sequence[Any], sizes: Sequence[tuple[int, int] | None]) -> list[Polygons | None]:
    """All polygons share one array: numbers of their own would take four times the memory, and twice the time."""
    parts = [_parts(each) for each in segmentations]
    lengths = np.asarray([len(part) for row in parts for part in row], dtype=np.int64)
    numbers = _numbers(parts, int(lengths.sum()))
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(len(parts)), [len(row) for row in parts])
    limits = np.asarray([size or (0, 0) for size in sizes], np.float32).reshape(-1, 2)[:, ::-1]
    sound = _within_reach(numbers, np.repeat(owner, lengths), limits)
    found: list[Polygons | None] = []
    at = 0
    for row in parts:
        spans = [(int(ends[at + place] - lengths[at + place]), int(ends[at + place])) for place in range(len(row))]
        at += len(row)
        usable = bool(row) and all(sound[start:end].all() for start, end in spans)
        found.append(tuple(numbers[start:end] for start, end in spans) if usable else None)
    return found


def _parts(segmentation: Any) -> list[list[Any]]:
    if not isinstance(segmentation, list):
        return []
    return [part for part in segmentation if isinstance(part, list) and len(part) >= FEWEST and len(part) % 2 == 0]


def _numbers(parts: Sequence[Sequence[Sequence[Any]]], count: int) -> np.ndarray:
    flat = chain.from_iterable(chain.from_iterable(parts))
    try:
        return np.fromiter(flat, dtype=np.float32, count=count)
    except (TypeError, ValueError, OverflowError):  # somewhere is something that is no number
        flat = chain.from_iterable(chain.from_iterable(parts))
        return np.asarray([each if isinstance(each, float | int) else np.nan for each in flat], np.float64).astype(
            np.float32
        )


def _within_reach(numbers: np.ndarray, owner: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Which numbers are finite and no further from the image than it is large. x and y alternate."""
    sound = np.empty(len(numbers), dtype=bool)
    for axis in (0, 1):
        values, limit = numbers[axis::2], limits[owner[axis::2], axis]
        sound[axis::2] = (values >= -limit) & (values <= 2 * limit)
    return sound


def _run_lengths(coded: Mapping[str, Any], size: tuple[int, int]) -> RunLengths | None:
    from faster_coco_eval.core import mask  # half a second, and most datasets have no outlines

    counts = coded.get("counts")
    try:
        if tuple(coded["size"]) != size:
            return None
        if isinstance(counts, list):
            if min(counts, default=-1) < 0 or sum(counts) != size[0] * size[1]:
                return None
            counts = mask.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"]
        else:
            counts = counts.encode() if isinstance(counts, str) else b""
            mask.decode({"size": list(size), "counts": counts})  # raises where they are none, or do not fill the mask
    except (KeyError, TypeError, ValueError, RuntimeError):
        return None
    return RunLengths(size, bytes(counts))
