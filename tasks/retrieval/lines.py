"""A query's line: how near each image of the gallery is. Lines come a few at a time, and are ranked one by one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.retrieval.ranking import Blocks, blocks
from tasks.retrieval.search import HELD, STEPS, Matrix, held, multiply

Line = NDArray[np.float32]
"""One number a gallery image, higher is nearer."""


class Asked(NamedTuple):
    """What a line is ranked for: the rows that are right, and the rows that are taken out before it is ranked."""

    right: NDArray[np.int64]
    ignored: NDArray[np.int64]


def similarities(queries: Matrix, gallery: Matrix) -> Iterator[Line]:
    """Every query's cosines with the whole gallery; rows have length one (or zero)."""
    gallery = held(gallery)
    few = max(1, HELD // len(gallery))
    for begin in range(0, len(queries), few):
        block = queries[begin : begin + few]
        lines = np.empty((len(block), len(gallery)), np.float32)
        multiply(block, gallery, lines, torch.device("cpu"))
        yield from lines


def ranked(line: Line, questions: Sequence[Asked]) -> list[Blocks | None]:
    """The blocks of right answers for each question of one line; None where nothing is right.

    Values are equal where they are in the same step of 1/STEPS, as for all of retrieval.
    """
    steps = np.asarray(np.rint(line * np.float32(STEPS)), np.int32)
    ordered = np.sort(steps)
    return [
        _without(blocks(ordered, steps[asked.right]), steps[asked.right], steps[asked.ignored])
        if len(asked.right)
        else None
        for asked in questions
    ]


def nearest(line: Line, ignored: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The rows ranked first, best first; of equals those that come first in the gallery. Fewer where there are not so
    many.
    """
    steps = np.asarray(np.rint(line * np.float32(STEPS)), np.int64)
    keys = steps * len(line) - np.arange(len(line))
    kept = np.delete(np.arange(len(line)), ignored)
    count = min(count, len(kept))
    first = kept[np.argpartition(-keys[kept], count - 1)[:count]] if count else kept
    return np.asarray(first[np.argsort(-keys[first])], dtype=np.int64)


def _without(ranking: Blocks, right: NDArray[np.int32], ignored: NDArray[np.int32]) -> Blocks:
    """The same blocks when the ignored items are not there."""
    values, out = np.unique(right)[::-1], np.sort(ignored)
    high, low = np.searchsorted(out, values, "right"), np.searchsorted(out, values, "left")
    return Blocks(ranking.above - (len(out) - high), ranking.size - (high - low), ranking.right)
