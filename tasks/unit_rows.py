"""Rows scaled to length one as they are read, so that a matrix on disk is never copied whole."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from tasks.features import normalised
from tasks.rows import Rows, runs


@dataclass(frozen=True)
class UnitRows:
    """Rows at length one, in float32; a row of zeros stays zero."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and numbers a row, as of a matrix."""
        return len(self.rows), self.rows.dim

    def __getitem__(self, run: slice) -> Float32[np.ndarray, "b dim"]:
        """A copy of these rows, scaled."""
        wanted = np.arange(len(self))[run]
        unit = np.empty((len(wanted), self.rows.dim), np.float32)
        for part in runs(*unit.shape):  # a few MB at a time: a tenth of the time of all at once
            unit[part] = normalised(self.rows.take(wanted[part]))
        return unit
