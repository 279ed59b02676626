"""One ranking of all pairs of a query and a gallery image, exactly and in bounded memory: no candidate is left out.

Copy detection asks one threshold of all queries. To place a right pair it takes the number of pairs that score as much,
not their names; so scores are rounded to steps and counted a tile of the similarity matrix at a time. What is held is a
tile, a count for each step (16 MB) and the right pairs; features stay on disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64
from numpy.typing import NDArray

from tasks.datasets.relevance import RowLists
from tasks.retrieval.pair_intervals import GroupedCounts
from tasks.retrieval.search import STEPS
from tasks.unit_rows import UnitRows

TILE = (1024, 2**15)
"""Queries and gallery rows of a tile (128 MB): both large, since a narrow product waits for memory."""

COUNTED = 2**22
"""Scores counted at a time: the counting copies them to 64 bits."""


@dataclass(frozen=True)
class Thresholds:
    """Those that accept a right pair, highest first: pairs ``accepted`` at each, and ``right`` ones among them."""

    accepted: Int64[np.ndarray, " thresholds"]
    right: Int64[np.ndarray, " thresholds"]

    def average_precision(self) -> float:
        """Sum over thresholds of the precision there times the recall gained there: equal scores come together.

        >>> Thresholds(np.array([1, 4]), np.array([1, 2])).average_precision()
        0.75
        """
        gained = np.diff(self.right, prepend=0) / self.right[-1]
        return float((gained * self.right / self.accepted).sum())

    def recall_at_precision(self, precision: float) -> float:
        """The largest recall of any threshold at which that share of the accepted is right; 0 where none is.

        >>> Thresholds(np.array([1, 4]), np.array([1, 2])).recall_at_precision(0.9)
        0.5
        """
        enough = self.right >= precision * self.accepted
        return float((self.right[enough] / self.right[-1]).max(initial=0.0))


@dataclass(frozen=True)
class PairRanking:
    """What the ranking comes to, what its intervals take, and of each query its best gallery row (of equals the first)
    and the score of that.

    ``hits`` is the chance that a right answer comes first when equals are in random order; NaN for a query without any.
    """

    thresholds: Thresholds
    grouped: GroupedCounts
    best: Int64[np.ndarray, " q"]
    scores: Float[np.ndarray, " q"]
    hits: Float[np.ndarray, " q"]


def rank_pairs(
    queries: Float32[np.ndarray, "q dim"] | UnitRows,
    gallery: Float32[np.ndarray, "n dim"] | UnitRows,
    right: RowLists,
    lowered: Float[np.ndarray, " q"],
    junk: RowLists | None = None,
) -> PairRanking:
    """Rank all pairs by dot product of rows of length one (or zero) minus ``lowered``, the query's own number.

    ``right`` lists each query's right gallery rows and must list one at least; pairs in ``junk`` are left out.
    """
    # Rounded up, with room for what float32 makes of a length of one.
    offset = int(np.ceil((1.001 + np.abs(lowered).max(initial=0.0)) * STEPS))
    counts = np.zeros(2 * offset + 1, np.int64)
    wanted, unwanted = _Pairs.of(right), _Pairs.of(junk) if junk else None
    tops, grouped = _Tops.of(len(queries)), GroupedCounts.of(len(queries), len(counts))
    for rows, columns, steps in _tiles(queries, gallery, lowered, offset):
        wanted.collect(steps, rows, columns)
        if unwanted:
            unwanted.collect(steps, rows, columns)
            here = unwanted.inside(rows, columns)
            steps[unwanted.query[here] - rows.start, unwanted.row[here] - columns.start] = 0  # below every score
        for run in range(0, len(steps), max(1, COUNTED // steps.shape[1])):
            some = steps[run : run + max(1, COUNTED // steps.shape[1])]
            counts += np.bincount(some.ravel(), minlength=len(counts))
        grouped.count(steps, rows.start)
        tops.see(steps, rows, columns)
    grouped.count_right(wanted.query, wanted.steps)
    counts[0] = 0
    steps, found = np.unique(wanted.steps, return_counts=True)
    accepted = counts[::-1].cumsum()[::-1][steps]
    thresholds = Thresholds(accepted[::-1], found[::-1].cumsum())
    hits = _hits(wanted, tops, len(queries))
    return PairRanking(thresholds, grouped, tops.row, (tops.step - offset) / STEPS, hits)


def _tiles(
    queries: NDArray[np.float32] | UnitRows,
    gallery: NDArray[np.float32] | UnitRows,
    lowered: NDArray[np.float64],
    offset: int,
) -> Iterator[tuple[slice, slice, Int32[np.ndarray, "rows columns"]]]:
    """The scores of all pairs in steps from 1 on, tile by tile, with the queries and the gallery rows of each."""
    for begin in range(0, len(queries), TILE[0]):
        rows = slice(begin, min(begin + TILE[0], len(queries)))
        asked = queries[rows]
        for start in range(0, len(gallery), TILE[1]):
            columns = slice(start, min(start + TILE[1], len(gallery)))
            scores = asked @ gallery[columns].T
            scores -= lowered[rows, None].astype(np.float32)
            scores *= STEPS
            yield rows, columns, np.rint(scores, out=scores).astype(np.int32) + np.int32(offset)


@dataclass
class _Pairs:
    """Listed pairs and, once their tiles were seen, their scores in steps."""

    query: Int64[np.ndarray, " pairs"]
    row: Int64[np.ndarray, " pairs"]
    steps: Int64[np.ndarray, " pairs"]

    @classmethod
    def of(cls, lists: RowLists) -> "_Pairs":
        query = np.repeat(np.arange(len(lists)), np.diff(lists.starts))
        return cls(query, lists.rows, np.zeros(len(query), np.int64))

    def inside(self, rows: slice, columns: slice) -> NDArray[np.int64]:
        """Which of the pairs lie in a tile. They are in the order of their queries."""
        first, last = np.searchsorted(self.query, (rows.start, rows.stop))
        row = self.row[first:last]
        return np.asarray(first + np.flatnonzero((row >= columns.start) & (row < columns.stop)))

    def collect(self, steps: Int32[np.ndarray, "rows columns"], rows: slice, columns: slice) -> None:
        """Take the scores of those that lie in a tile."""
        here = self.inside(rows, columns)
        self.steps[here] = steps[self.query[here] - rows.start, self.row[here] - columns.start]


@dataclass
class _Tops:
    """Each query's highest score in steps, the first row that has it, and how many have it."""

    step: Int64[np.ndarray, " q"]
    row: Int64[np.ndarray, " q"]
    equals: Int64[np.ndarray, " q"]

    @classmethod
    def of(cls, queries: int) -> "_Tops":
        return cls(np.full(queries, -1), np.zeros(queries, np.int64), np.ones(queries, np.int64))

    def see(self, steps: Int32[np.ndarray, "rows columns"], rows: slice, columns: slice) -> None:
        """Go on with a tile: higher scores take over, equal ones are counted with."""
        at = steps.argmax(1)
        highest = steps[np.arange(len(steps)), at].astype(np.int64)
        equals = np.count_nonzero(steps == highest[:, None], axis=1)
        before, higher = self.step[rows], highest > self.step[rows]
        self.equals[rows] = np.where(higher, equals, self.equals[rows] + np.where(highest == before, equals, 0))
        self.row[rows] = np.where(higher, columns.start + at, self.row[rows])
        self.step[rows] = np.maximum(highest, before)


def _hits(wanted: _Pairs, tops: _Tops, queries: int) -> NDArray[np.float64]:
    first = np.bincount(wanted.query, wanted.steps == tops.step[wanted.query], minlength=queries)
    has = np.bincount(wanted.query, minlength=queries) > 0
    return np.where(has, first / tops.equals, np.nan)
