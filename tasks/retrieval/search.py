"""Every query's ranking of the whole gallery, a few queries at a time: the full matrix is never held."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import numpy as np
from jaxtyping import Float32, Int32, Int64

from tasks.retrieval.ranking import Blocks, blocks

HELD = 2**25
"""Similarities held at once (128 MB); never less than one query's. The product of many queries is the faster one."""

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
    order = np.argsort(gallery_labels)
    sorted_labels = gallery_labels[order]
    starts, ends = np.searchsorted(sorted_labels, query_labels), np.searchsorted(sorted_labels, query_labels, "right")
    few = max(1, HELD // len(gallery))
    held = np.empty((min(few, len(queries)), len(gallery)), np.float32)

    def ranked(query: int, line: np.ndarray) -> Blocks | None:
        answers = order[starts[query] : ends[query]]
        if leave_one_out:
            line[query] = SELF
            answers = answers[answers != query]
        if not len(answers):
            return None
        right = line[answers]
        # Only what scores at least as much as the last right answer, or ties with it, can share its rank or be above.
        # A partition finds it in a fifth of the time that picking it by a mask or sorting all would take.
        needed = np.count_nonzero(line >= right.min() - np.float32(2 / STEPS))
        line.partition(len(line) - needed)
        ordered = line[len(line) - needed :]
        ordered.sort()
        return blocks(_steps(ordered), _steps(right))

    with ThreadPoolExecutor(cpu_count()) as threads:
        for begin in range(0, len(queries), few):
            block = queries[begin : begin + few]
            # NumPy's product of so few rows took half the time of torch's.
            lines = np.matmul(block, gallery.T, out=held[: len(block)])
            yield from threads.map(ranked, range(begin, begin + len(block)), lines)


def _steps(similarities: Float32[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    return np.asarray(np.rint(similarities * STEPS), np.int32)
