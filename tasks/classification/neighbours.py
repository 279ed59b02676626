"""Exact nearest neighbours by cosine in bounded memory, without sorting or keeping the similarities.

Every gallery row belongs to a group of ``GROUP``. A fast pass (bfloat16 where the processor multiplies it) keeps only
the highest similarity of each group. The k-th highest of these, less twice the pass's error, is a floor under the k
nearest: only groups that reach it are computed again, in float32. The error is bounded by Cauchy-Schwarz from the
actual rounding of the vectors, so the answer is the exact one, whatever the data.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

GROUP = 16
COLUMNS = 16384
CONVERTED = 1024
"""Gallery rows rounded at once: what the processor's cache holds."""
KEPT = 2**17
"""Up to this many gallery rows the fast pass's similarities of a block of queries are kept (64 MB), which narrows
groups to single rows; beyond, whole groups are computed again."""

STEPS = 2**20
"""Similarities are rounded to 1/STEPS (float32 dot products of unit vectors differ by less), so ties are ties."""


def nearest(
    queries: Float32[np.ndarray, "q dim"], gallery: Float32[np.ndarray, "n dim"], k: int
) -> tuple[Float32[np.ndarray, "q k"], Int64[np.ndarray, "q k"]]:
    """Similarities and gallery rows of the ``k`` nearest by dot product, highest first; of equals the lower row first.

    Both must hold rows of length one (or zero). Raises ``ValueError`` where ``k`` is not in 1..n.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k must be in 1..{len(gallery)} (the gallery's size), got {k}")
    ours, theirs = torch.from_numpy(np.ascontiguousarray(queries)), torch.from_numpy(np.ascontiguousarray(gallery))
    similarities, rows = np.empty((len(ours), k), np.float32), np.empty((len(ours), k), np.int64)
    screen = _screen(theirs) if len(theirs) > 64 * k else None
    # Few large products: a thread pool's round trip costs more than a small gallery's product.
    together = min(1024, max(256, 2**24 // len(theirs)))
    for begin in range(0, len(ours), together):
        block = slice(begin, begin + together)
        found = _screened(ours[block], theirs, screen, k) if screen else _direct(ours[block], theirs, k)
        similarities[block], rows[block] = found
    return similarities, rows


@dataclass(frozen=True)
class _Screen:
    """The gallery as the fast pass sees it (its last row repeated to fill the last group), and what that costs."""

    rows: Tensor
    error: float
    rounding: float


def _screen(gallery: Tensor) -> _Screen:
    fast = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    accumulated = gallery.shape[1] * 2.0**-23
    filled = -(-len(gallery) // GROUP) * GROUP
    if not fast and filled == len(gallery):
        return _Screen(gallery, accumulated, 0.0)
    rows = torch.empty(filled, gallery.shape[1], dtype=torch.bfloat16 if fast else torch.float32)
    worst = 0.0
    for begin in range(0, len(gallery), CONVERTED):
        part = gallery[begin : begin + CONVERTED]
        rounded = rows[begin : begin + len(part)].copy_(part)
        worst = max(worst, float((part - rounded).norm(dim=1).max()))
    rows[len(gallery) :] = rows[len(gallery) - 1]
    return _Screen(rows, worst + accumulated, 2.0**-8 if fast else 0.0)


def _screened(queries: Tensor, gallery: Tensor, screen: _Screen, k: int) -> tuple[np.ndarray, np.ndarray]:
    seen = queries.to(screen.rows.dtype)
    highest, kept = _group_maxima(seen, screen.rows)
    floor = np.partition(highest, -k, axis=1)[:, -k, None]
    error = np.linalg.norm(queries.numpy() - seen.float().numpy(), axis=1, keepdims=True) + 1.01 * screen.error
    floor = floor - 2 * error - 2.02 * screen.rounding * np.abs(floor)
    reached = highest >= floor
    # Where nearly everything ties, gathering rows one by one would cost more than the plain product.
    crowded = reached.sum(1) > max(16 * k, reached.shape[1] // 16)
    reached[crowded] = False
    similarities, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    owners, columns = _candidates(reached, kept, floor, len(gallery))
    similarities[~crowded], rows[~crowded] = _best(queries.numpy(), gallery.numpy(), owners, columns, k)
    if crowded.any():
        similarities[crowded], rows[crowded] = _direct(queries[torch.from_numpy(crowded)], gallery, k)
    return similarities, rows


def _group_maxima(queries: Tensor, gallery: Tensor) -> tuple[np.ndarray, Tensor | None]:
    """The highest similarity of each group, (queries, groups) float32, and all (groups, in one, queries) if few.

    Queries stand last while maxima are taken, so that these go over whole vectors: it took two thirds of the time.
    """
    kept = len(gallery) <= KEPT
    columns = len(gallery) if kept else COLUMNS
    highest = torch.empty(len(queries), len(gallery) // GROUP)
    for begin in range(0, len(gallery), columns):
        product = (gallery[begin : begin + columns] @ queries.T).view(-1, GROUP, len(queries))
        highest[:, begin // GROUP : begin // GROUP + len(product)] = product.amax(1).T
    return highest.numpy(), product if kept else None


def _candidates(
    reached: np.ndarray, kept: Tensor | None, floor: np.ndarray, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(query, gallery row) pairs that may be among the nearest, by query."""
    owners, groups = np.nonzero(reached)
    columns = groups[:, None] * GROUP + np.arange(GROUP)
    possible = columns < rows
    if kept is not None:
        possible &= kept[torch.from_numpy(groups), :, torch.from_numpy(owners)].float().numpy() >= floor[owners]
    return np.repeat(owners, GROUP)[possible.ravel()], columns[possible]


def _best(
    queries: np.ndarray, gallery: np.ndarray, owners: NDArray[np.int64], columns: NDArray[np.int64], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest of each query that has candidates, from float32 products.

    Query, similarity (falling) and row are packed into one whole number, so that one sort settles all, ties included.
    """
    present, starts = np.unique(owners, return_index=True)
    exact = np.empty(len(owners), np.float32)
    for query, begin, end in zip(present, starts, np.append(starts, len(owners))[1:], strict=True):
        exact[begin:end] = gallery[columns[begin:end]] @ queries[query]
    falling = 2 * STEPS - np.rint(exact * STEPS).astype(np.int64)
    keys = np.sort((owners << 52) | (falling << 30) | columns)
    keys = keys[starts[:, None] + np.arange(k)]
    similarities = (2 * STEPS - ((keys >> 30) & (2**22 - 1))) / STEPS
    return similarities.astype(np.float32), keys & (2**30 - 1)


def _direct(queries: Tensor, gallery: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All similarities of a few queries at once, then a partial selection."""
    similarities, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    few = max(1, 2**24 // len(gallery))
    for begin in range(0, len(queries), few):
        values = ((queries[begin : begin + few] @ gallery.T) * STEPS).round_().div_(STEPS).numpy()
        for query, line in enumerate(values, start=begin):
            last = np.partition(line, len(line) - k)[len(line) - k]
            above = np.flatnonzero(line > last)
            chosen = np.concatenate([above, np.flatnonzero(line == last)[: k - len(above)]])
            rows[query] = chosen[np.lexsort((chosen, -line[chosen]))]
            similarities[query] = line[rows[query]]
    return similarities, rows
