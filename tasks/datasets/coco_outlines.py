"""COCO's segmentations as outlines: polygons, and run lengths as a list of counts or compressed to a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

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
    drawn = [_parts(each) for each in segmentations]
    limits = np.asarray([size or (0, 0) for size in sizes], np.float32).reshape(-1, 2)[:, ::-1]
    sound = _within_reach(drawn, limits)
    return [parts if parts and good else None for parts, good in zip(drawn, sound.tolist(), strict=True)]


def _parts(segmentation: Any) -> Polygons:
    if not isinstance(segmentation, list):
        return ()
    parts = [part for part in segmentation if isinstance(part, list) and len(part) >= FEWEST and len(part) % 2 == 0]
    return tuple(_corners(part) for part in parts)


def _corners(part: list[Any]) -> NDArray[np.float32]:
    """NaN for what is no list of numbers."""
    try:
        corners = np.asarray(part, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return np.full(FEWEST, np.nan, np.float32)
    return corners if corners.ndim == 1 else np.full(FEWEST, np.nan, np.float32)


def _within_reach(drawn: Sequence[Polygons], limits: Float32[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Which outlines are finite and no further from their image (``limits``: width, height) than it is large."""
    sound = np.ones(len(drawn), dtype=bool)
    if any(drawn):
        corners = np.concatenate([part for parts in drawn for part in parts]).reshape(-1, 2)
        owner = np.repeat(np.arange(len(drawn)), [sum(len(part) for part in parts) // 2 for parts in drawn])
        reach = limits[owner]
        good = ((corners >= -reach) & (corners <= 2 * reach)).all(axis=1)
        sound[owner[~good]] = False
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
