"""Every query's ranking of the whole gallery, a few queries at a time: the full matrix is never held."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import numpy as np
import torch
from jaxtyping import Float32, Int64

from tasks.retrieval.ranking import Blocks, blocks

HELD = 2**24
"""Similarities held at once (64 MB); never less than one query's."""

STEPS = 2**20
"""Similarities are rounded to 1/STEPS, above float32's own rounding, so that equal vectors tie wherever they stand."""

SELF = np.float32(-2)
"""Below every similarity."""


def rankings(
    queries: Float32[np.ndarray, "q dim"],
    query_labels: Int64[np.ndarray, " q"],
    gallery: Float32[np.ndarray, "n dim"],
    gallery_labels: Int64[np.ndarray, " n"],
    leave_one_out: bool = False,
) -> Iterator[Blocks | None]:
    """The blocks of right answers of every query in turn, None for a query without any.

    Rows have length one (or zero). With ``leave_one_out`` query i is gallery row i, and is not among its own answers.
    """
    order = np.argsort(gallery_labels, kind="stable")
    sorted_labels = gallery_labels[order]
    starts, ends = np.searchsorted(sorted_labels, query_labels), np.searchsorted(sorted_labels, query_labels, "right")
    transposed = torch.from_numpy(gallery).T
    few = max(1, HELD // len(gallery))

    def ranked(query: int, line: np.ndarray) -> Blocks | None:
        answers = order[starts[query] : ends[query]]
        if leave_one_out:
            line[query] = SELF
            answers = answers[answers != query]
        if not len(answers):
            return None
        right = line[answers]
        # Only what scores at least as much as the last right answer, or ties with it, can share its rank or be above.
        line = line[line >= right.min() - np.float32(2 / STEPS)]
        ordered = np.rint(line * STEPS).astype(np.int32)
        ordered.sort()
        return blocks(ordered, np.rint(right * STEPS).astype(np.int32))

    with ThreadPoolExecutor(cpu_count()) as threads:
        for begin in range(0, len(queries), few):
            lines = (torch.from_numpy(queries[begin : begin + few]) @ transposed).numpy()
            yield from threads.map(ranked, range(begin, begin + len(lines)), lines)
