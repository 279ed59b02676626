"""Which rows are a step, and how a step's rows are split: pure functions, so any restart reads the same."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def steps_an_epoch(rows: int, global_batch: int) -> int:
    """Whole global batches only: the rest of an epoch's permutation is dropped (it differs from epoch to epoch).

    Raises ``ValueError`` for a batch larger than the set.
    """
    if global_batch > rows:
        raise ValueError(
            f"global_batch={global_batch} is larger than the training set of {rows} items; use at most {rows}"
        )
    return rows // global_batch


def epoch_order(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of all rows. Raw bits are sorted: numpy keeps those streams, not ``permutation``, for ever."""
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(rows)
    return np.argsort(bits, kind="stable").astype(np.int64)


def split(global_batch: int, parts: int) -> list[slice]:
    """Contiguous runs that differ by at most one pair (2 j, 2 j + 1); a pair is never parted.

    Raises ``ValueError`` where there are fewer pairs than parts.
    """
    pairs = -(-global_batch // 2)
    if parts > pairs:
        raise ValueError(f"a global batch of {global_batch} has {pairs} pairs of items: too few for {parts} parts")
    edges = [min(2 * (pairs * part // parts), global_batch) for part in range(parts + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


def accumulation_of(global_batch: int, devices: int, device_batch: int | None, halvings: int = 0) -> int:
    """Micro-batches a device has in a step, so that none has more than ``device_batch`` items (or a pair).

    All devices have as many, and each has a pair at least: that can leave no more than one pair too many in some.
    ``halvings`` is how often what a device would take at once is halved.

    >>> accumulation_of(64, 2, None), accumulation_of(64, 2, None, halvings=2), accumulation_of(64, 2, 8, halvings=1)
    (1, 4, 8)
    """
    pairs = -(-global_batch // 2)
    share = -(-pairs // devices)
    most = max(1, (share if device_batch is None else min(share, device_batch // 2)) >> halvings)
    accumulation = -(-pairs // (devices * most))
    return max(1, min(accumulation, pairs // devices))
