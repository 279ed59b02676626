"""What a matrix of features says of itself: collapsed, repeated, constant, or made from badly scaled input."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backbones.feature_checks import is_collapsed

ROWS = 256
"""Rows looked at, spread over all: enough for the limits below, and little memory beside the matrix."""
FEWEST = 16
"""Of fewer rows than this nothing is said but their digest."""

LEAST_RANK = 1.5
"""An effective rank of one is a line: every image differs from the mean in the same direction."""
MOST_CONSTANT, MOST_REPEATED = 0.99, 0.5
"""Shares. Rectified features do have dead dimensions (SqueezeNet 2 %), and data sets some duplicates."""
FARTHEST_MEAN, LARGEST_STD, SMALLEST_STD = 3.0, 4.0, 0.02
"""Of the normalised input. Pixels scaled by ImageNet's statistics stay within -2.2 and 2.7, whatever they show."""


@dataclass(frozen=True)
class Health:
    """``sha256`` is of all values, the rest of a sample of rows, and of the first images' input a channel.

    ``collapsed`` says that the rows are all the same (:func:`backbones.feature_checks.is_collapsed`).
    ``effective_rank`` is exp(entropy) of the normalised singular values of the centred rows (RankMe, Garrido et al.
    2023, there without centring, which hides a common offset). Shares are in [0, 1].
    """

    sha256: str
    collapsed: bool
    effective_rank: float
    constant_dims: float
    repeated_rows: float
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    looked_at: int

    def suspicions(self) -> Iterator[str]:
        """Why nobody should trust a number computed from these features; nothing for sound ones."""
        if any(abs(mean) > FARTHEST_MEAN for mean in self.input_mean):
            yield f"the preprocessed images' mean is {_few(self.input_mean)}, far from 0: check the card's mean and std"
        if any(not SMALLEST_STD <= std <= LARGEST_STD for std in self.input_std):
            yield f"the preprocessed images' std is {_few(self.input_std)}, far from 1: check the card's mean and std"
        if self.collapsed:
            yield "collapsed: every image has the same features"
        if self.looked_at < FEWEST:
            return
        if self.effective_rank < LEAST_RANK and not self.collapsed:
            yield f"collapsed: the features have an effective rank of {self.effective_rank:.2f}"
        if self.constant_dims > MOST_CONSTANT:
            yield f"{100 * self.constant_dims:.1f} % of the feature dimensions are constant"
        if self.repeated_rows > MOST_REPEATED:
            yield f"{100 * self.repeated_rows:.0f} % of the images have features that another image has too"


def health(
    blocks: Iterable[NDArray[Any]], rows: int, checksums: Sequence[str], inputs: Float[np.ndarray, "n 3 height width"]
) -> Health:
    """Of a matrix given block by block, with the checksums of its blocks and some of its preprocessed images."""
    sample = _spread(blocks, rows)
    return Health(
        sha256=hashlib.sha256("".join(checksums).encode()).hexdigest(),
        collapsed=is_collapsed([sample]),
        effective_rank=effective_rank(sample),
        constant_dims=float((np.ptp(sample, axis=0) == 0).mean()),
        repeated_rows=_repeated(sample),
        input_mean=tuple(float(value) for value in inputs.mean((0, 2, 3))),
        input_std=tuple(float(value) for value in inputs.std((0, 2, 3))),
        looked_at=len(sample),
    )


def effective_rank(rows: Float[np.ndarray, "n dim"], centred: bool = True) -> float:
    """:func:`effective_number` of the singular values of the rows (``centred``: about their mean); 0 of none.

    >>> round(effective_rank(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 6)
    2.0
    """
    moved = rows - rows.mean(0) if centred else rows
    scale = float(np.abs(moved).max(initial=0.0))
    if scale <= 1e-6 * float(np.abs(rows).max(initial=0.0)):
        return 0.0
    moved = moved / scale
    # From the smaller Gram matrix: a singular value decomposition would copy all rows. Below 1e-14 is its rounding.
    squares = np.linalg.eigvalsh(moved @ moved.T if len(rows) < rows.shape[1] else moved.T @ moved)
    return effective_number(np.sqrt(squares[squares > 1e-14 * squares[-1]]))


def effective_number(values: Float[np.ndarray, " n"]) -> float:
    """exp of the entropy of the shares of values that are not negative: k equal ones among zeros are k; 0 of none.

    >>> round(effective_number(np.array([3.0, 3.0, 0.0])), 6)
    2.0
    """
    positive = values[values > 0]
    shares = positive / positive.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def _spread(blocks: Iterable[NDArray[Any]], rows: int) -> Float[np.ndarray, "n dim"]:
    """At most :data:`ROWS` rows, evenly spread over all."""
    wanted = np.unique(np.linspace(0, rows - 1, min(ROWS, rows)).astype(int))
    begin, sample = 0, np.empty((len(wanted), 0))
    for block in blocks:
        sample = sample if sample.shape[1] else np.empty((len(wanted), block.shape[1]))
        inside = (wanted >= begin) & (wanted < begin + len(block))
        sample[inside] = block[wanted[inside] - begin]
        begin += len(block)
    return sample


def _repeated(rows: Float[np.ndarray, "n dim"]) -> float:
    counts = Counter(row.tobytes() for row in rows)
    return sum(count for count in counts.values() if count > 1) / len(rows)


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)
