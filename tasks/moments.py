"""Mean and standard deviation of features in one pass, however many there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Of each feature over all rows; the standard deviation divides by their number."""

    mean: Float64[np.ndarray, " dim"]
    std: Float64[np.ndarray, " dim"]


def moments(blocks: Iterable[NDArray[Any]]) -> Moments:
    """Of a matrix given block by block. Raises ``ValueError`` where there are no rows.

    Sums of squares about a block's own mean are merged as in Chan, Golub and LeVeque 1979, so that features far from
    zero lose nothing.

    >>> moments([np.array([[1.0, 8.0]]), np.array([[3.0, 8.0]])]).std
    array([1., 0.])
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    for block in blocks:
        values = block.astype(np.float64)
        here, here_mean = len(values), values.mean(0)
        values -= here_mean
        here_squares = np.einsum("ij,ij->j", values, values)
        if count == 0:
            count, mean, squares = here, here_mean, here_squares
            continue
        total, apart = count + here, here_mean - mean
        squares += here_squares + apart**2 * (count * here / total)
        mean, count = mean + apart * (here / total), total
    if count == 0:
        raise ValueError("no rows were given, so they have no mean")
    return Moments(mean, np.sqrt(squares / count))
