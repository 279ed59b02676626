"""The outline of one object: polygons or run lengths, as COCO writes them, and the mask they stand for."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray


@dataclass(frozen=True)
class RunLengths:
    """COCO's compressed run lengths of a mask of ``size`` (height, width), column by column."""

    size: tuple[int, int]
    counts: bytes


Polygons = tuple[NDArray[np.float32], ...]
"""One object's parts; each is x, y, x, y, ... in pixels, three corners or more."""
Outline = Polygons | RunLengths


def run_lengths(outline: Outline, size: tuple[int, int]) -> RunLengths:
    """The outline of an object in an image of ``size`` (height, width), rasterised as COCO's evaluation does it.

    Raises ``ValueError`` for run lengths of another size.

    >>> square = (np.asarray([1, 1, 5, 1, 5, 5, 1, 5], np.float32),)
    >>> int(mask_of(square, (10, 10)).sum())
    16
    """
    if isinstance(outline, RunLengths):
        if outline.size != size:
            raise ValueError(f"run lengths of a mask of {outline.size}, but the image is {size} (height, width)")
        return outline
    from faster_coco_eval.core import mask  # half a second, and most datasets have no outlines

    merged = mask.merge(mask.frPyObjects([part.astype(float).tolist() for part in outline], *size))
    return RunLengths(size, merged["counts"])


def mask_of(outline: Outline, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """1 where the object is, else 0."""
    from faster_coco_eval.core import mask

    runs = run_lengths(outline, size)
    return np.asarray(mask.decode({"size": list(runs.size), "counts": runs.counts}), dtype=np.uint8)


def outline_of(mask_array: UInt8[np.ndarray, "height width"]) -> RunLengths:
    """The run lengths of a mask of zeros and ones."""
    from faster_coco_eval.core import mask

    height, width = mask_array.shape
    return RunLengths((height, width), mask.encode(np.asfortranarray(mask_array))["counts"])


def outline_at(pixels: Int64[np.ndarray, " n"], size: tuple[int, int]) -> RunLengths:
    """The run lengths of a mask of ``size`` (height, width) by its pixels: ``column * height + row`` each, ascending.

    >>> mask_of(outline_at(np.asarray([1, 2]), (3, 2)), (3, 2)).tolist()
    [[0, 0], [1, 0], [1, 0]]
    """
    from faster_coco_eval.core import mask

    breaks = np.flatnonzero(np.diff(pixels) > 1)
    starts = pixels[np.concatenate([[0], breaks + 1])] if len(pixels) else pixels
    ends = pixels[np.concatenate([breaks, [-1]])] + 1 if len(pixels) else pixels
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).reshape(-1), [size[0] * size[1]]])
    coded = mask.frPyObjects({"size": list(size), "counts": np.diff(edges).tolist()}, *size)
    return RunLengths(size, coded["counts"])


def box_of(mask_array: UInt8[np.ndarray, "height width"]) -> Float32[np.ndarray, " 4"]:
    """The smallest box (left, top, right, bottom) around a mask; all zeros around nothing."""
    rows, columns = (np.flatnonzero(mask_array.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.asarray([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
