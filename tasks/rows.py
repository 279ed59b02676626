"""Rows of feature matrices that stay where they are, memory-mapped on disk: only what is asked for is copied."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

BLOCK = 2**21
"""Numbers a block: 8 MiB in float32."""


@dataclass(frozen=True)
class Rows:
    """Some rows of one matrix or, after :meth:`joined`, of several of the same dim, counted through."""

    pieces: tuple[tuple[NDArray[Any], NDArray[np.int64]], ...]

    def __post_init__(self) -> None:
        if len(dims := {matrix.shape[1] for matrix, _ in self.pieces}) != 1:
            raise ValueError(f"rows of one dim are needed to read them as one matrix; got dims {sorted(dims)}")

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.pieces)

    @property
    def dim(self) -> int:
        """Numbers a row."""
        return int(self.pieces[0][0].shape[1])

    def joined(self, other: "Rows") -> "Rows":
        """These rows, then the other's."""
        return Rows((*self.pieces, *other.pieces))

    def take(self, wanted: Int64[np.ndarray, " b"]) -> Float32[np.ndarray, "b dim"]:
        """A copy of these rows, float32, in the order asked for."""
        taken, begin = np.empty((len(wanted), self.dim), np.float32), 0
        for matrix, rows in self.pieces:
            here = (wanted >= begin) & (wanted < begin + len(rows))
            taken[here] = matrix[rows[wanted[here] - begin]]
            begin += len(rows)
        return taken

    def blocks(self) -> Iterator[Float32[np.ndarray, "b dim"]]:
        """All rows in order, :data:`BLOCK` numbers at a time."""
        return (self.take(np.arange(run.start, run.stop)) for run in runs(len(self), self.dim))


def runs(rows: int, dim: int) -> Iterator[slice]:
    """Slices that cut so many rows into blocks of at most :data:`BLOCK` numbers (or a row).

    >>> [run.start for run in runs(10, BLOCK // 4)]
    [0, 4, 8]
    """
    size = max(1, BLOCK // dim)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def blocks_of(matrix: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of all rows of a matrix, block by block."""
    return (matrix[run] for run in runs(*matrix.shape))
