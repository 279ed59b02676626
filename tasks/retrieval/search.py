"""Every query's ranking of the gallery, whole or its top, in memory that does not grow with both: exact, in blocks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64
from numpy.typing import NDArray

from tasks.classification.neighbours import nearest
from tasks.retrieval.ranking import Blocks, blocks
from tasks.rows import runs
from tasks.unit_rows import UnitRows

HELD = 2**25
"""Similarities held at once (128 MB); never less than one query's. The product of many queries is the faster one."""

STREAMED = 4
"""So many times more are held where the gallery has to be read again for them."""

STEPS = 2**20
"""Similarities are rounded to 1/STEPS, above float32's own rounding, so that equal vectors tie wherever they stand."""

Matrix = NDArray[np.float32] | UnitRows

SELF = np.float32(-2)
"""Below every similarity."""


def top_k(
    queries: Float[np.ndarray, "q dim"] | UnitRows,
    gallery: Float[np.ndarray, "n dim"] | UnitRows,
    k: int,
    device: torch.device | str = "cpu",
) -> tuple[Float32[np.ndarray, "q k"], Int64[np.ndarray, "q k"]]:
    """Similarities and gallery rows of the ``k`` first of every query; of equals the lower row is first.

    A million rows on disk are searched as exactly as a hundred (see :func:`nearest`), on the device named. A vector of
    zeros is at similarity 0 to everything: as a query it finds the first rows, in the gallery it ranks above what
    points away. Raises ``ValueError`` where ``k`` is not in 1..n.
    """
    few = max(1, HELD // queries.shape[1])
    starts = range(0, max(1, len(queries)), few)
    found = [nearest(queries[begin : begin + few], gallery, k, device) for begin in starts]
    similarities, rows = zip(*found, strict=True)
    return np.concatenate(similarities), np.concatenate(rows)


def rankings(
    queries: Float32[np.ndarray, "q dim"] | UnitRows,
    query_labels: Int64[np.ndarray, " q"],
    gallery: Float32[np.ndarray, "n dim"] | UnitRows,
    gallery_labels: Int64[np.ndarray, " n"],
    leave_one_out: bool = False,
    device: torch.device | str = "cpu",
) -> Iterator[Blocks | None]:
    """The blocks of right answers of every query in turn, None for a query without any.

    Rows have length one (or zero). With ``leave_one_out`` query i is gallery row i, and is not among its own answers.
    """
    order = np.argsort(gallery_labels)
    sorted_labels = gallery_labels[order]
    starts, ends = np.searchsorted(sorted_labels, query_labels), np.searchsorted(sorted_labels, query_labels, "right")
    gallery = _held(gallery)
    together = HELD * (STREAMED if isinstance(gallery, UnitRows) else 1)
    few = max(1, min(together // len(gallery), HELD // gallery.shape[1]))
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
            lines = held[: len(block)]
            _multiply(block, gallery, lines, torch.device(device))
            yield from threads.map(ranked, range(begin, begin + len(block)), lines)


def _held(rows: Matrix) -> Matrix:
    """Scaled once and for all where they are few."""
    return rows[:] if isinstance(rows, UnitRows) and len(rows) * rows.shape[1] <= HELD else rows


def _multiply(
    block: Float32[np.ndarray, "q dim"], gallery: Matrix, lines: Float32[np.ndarray, "q n"], device: torch.device
) -> None:
    """Fill ``lines`` with every similarity."""
    parts = [slice(None)] if isinstance(gallery, np.ndarray) and device.type == "cpu" else runs(*gallery.shape)
    for part in parts:
        if device.type == "cpu":
            # NumPy's product of so few rows took half the time of torch's.
            np.matmul(block, gallery[part].T, out=lines[:, part])
        else:
            theirs = torch.from_numpy(np.array(gallery[part], np.float32)).to(device)
            lines[:, part] = (torch.from_numpy(block).to(device) @ theirs.T).cpu().numpy()


def _steps(similarities: Float32[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    return np.asarray(np.rint(similarities * STEPS), np.int32)
