"""Exact nearest neighbours by cosine in bounded memory, without sorting or keeping the similarities.

The gallery goes by once, a block at a time, wherever it is; every query keeps the ``k`` nearest so far. On a processor
a fast pass (bfloat16 where it multiplies that) gives a block's similarities; every ``GROUP`` rows keep their highest.
Only rows that could still be among the nearest, by more than twice the pass's error, are computed again in float32. The
error is bounded by Cauchy-Schwarz from the actual rounding of the vectors, so the answer is the exact one, whatever the
data. On other devices a block's float32 similarities are all computed and selected from there.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from tasks.unit_rows import UnitRows

GROUP = 16
COLUMNS = 16384
"""Gallery rows a block, at least: with ``TOGETHER`` queries a product of 32 MB, the fastest of what was measured."""
TOGETHER = 1024

STEPS = 2**20
"""Similarities are rounded to 1/STEPS (float32 dot products of unit vectors differ by less), so ties are ties."""

HALF_A_BIT = 2.0**-8
"""The most that rounding to bfloat16 takes from a number or adds to it, as a share of the number."""

OWNER, FALLING = 52, 30
"""Where a query's number and a similarity begin in a key, below which is the gallery row."""
NOTHING = 2**OWNER - 1
"""Farther than everything."""


def nearest(
    queries: Float32[np.ndarray, "q dim"],
    gallery: Float[np.ndarray, "n dim"] | UnitRows,
    k: int,
    device: torch.device | str = "cpu",
) -> tuple[Float32[np.ndarray, "q k"], Int64[np.ndarray, "q k"]]:
    """Similarities and gallery rows of the ``k`` nearest by dot product, highest first; of equals the lower row first.

    Rows have length one, or zero: a zero vector is as near as a right angle to everything. What is held beside the
    queries and the answer does not grow with the gallery, which may be a memory-mapped file of up to 2^30 rows.
    Raises ``ValueError`` where ``k`` is not in 1..n.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k must be in 1..{len(gallery)} (the gallery's size), got {k}")
    ours, device = torch.from_numpy(np.ascontiguousarray(queries)), torch.device(device)
    best = np.full((len(ours), k), NOTHING)
    size = max(COLUMNS, -(-64 * k // GROUP) * GROUP)
    for begin in range(0, len(gallery), size):
        block = _block(gallery, slice(begin, begin + size))
        screen = _screen(block) if device.type == "cpu" and len(block) > 64 * k else None
        block = block.to(device)
        for start in range(0, len(ours), TOGETHER):
            some = slice(start, start + TOGETHER)
            if screen:
                best[some] = _screened(ours[some], block, screen, best[some], begin)
            else:
                best[some] = _direct(ours[some].to(device), block, best[some], begin)
    return (2 * STEPS - (best >> FALLING)).astype(np.float32) / STEPS, best & (2**FALLING - 1)


def _block(gallery: NDArray[np.floating] | UnitRows, run: slice) -> Tensor:
    block = np.ascontiguousarray(gallery[run], np.float32)
    # A file mapped to be read only is copied: a tensor cannot say that it must not be written to.
    return torch.from_numpy(block if block.flags.writeable else block.copy())


@dataclass(frozen=True)
class _Screen:
    """A block as the fast pass sees it (its last row repeated to fill the last group), and what that costs."""

    rows: Tensor
    error: float
    rounding: float

    def lowest(self, floor: NDArray[np.floating], error: NDArray[np.floating]) -> NDArray[np.float32]:
        """The least that the fast pass can have made of a similarity of ``floor``, and what it can have made it of."""
        lost = error + 1 / STEPS
        return np.asarray(floor - lost - 1.01 * self.rounding * (np.abs(floor) + lost), np.float32)


def _screen(gallery: Tensor) -> _Screen:
    fast = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    accumulated = gallery.shape[1] * 2.0**-23
    filled = -(-len(gallery) // GROUP) * GROUP
    if not fast and filled == len(gallery):
        return _Screen(gallery, accumulated, 0.0)
    rows = torch.empty(filled, gallery.shape[1], dtype=torch.bfloat16 if fast else torch.float32)
    rows[: len(gallery)].copy_(gallery)
    rows[len(gallery) :] = rows[len(gallery) - 1]
    # Measuring what was lost, about half of the most that can be, took longer than it saved in candidates.
    return _Screen(rows, (HALF_A_BIT if fast else 0.0) + accumulated, HALF_A_BIT if fast else 0.0)


def _screened(
    queries: Tensor, block: Tensor, screen: _Screen, best: NDArray[np.int64], begin: int
) -> NDArray[np.int64]:
    """The best so far, and of a block whose first row is ``begin``, as keys without their owners, nearest first."""
    k = best.shape[1]
    seen = queries.to(screen.rows.dtype)
    product = (screen.rows @ seen.T).view(-1, GROUP, len(queries))
    # Queries stand last while maxima are taken, so that these go over whole vectors: it took two thirds of the time.
    highest = product.amax(1).float().numpy()
    error = (queries - seen.float()).norm(dim=1).numpy() + np.float32(1.01 * screen.error)
    so_far = (2 * STEPS - (best[:, -1] >> FALLING)).astype(np.float32) / STEPS
    floor = screen.lowest(so_far, error)
    reached = highest >= floor
    # Where many rows are nearer than anything before (in the first block all are), the block sets the floor itself.
    if len(many := np.flatnonzero(np.count_nonzero(reached, axis=0) > 2 * k)):
        kth = np.partition(highest.T[many], -k, axis=1)[:, -k]
        here = screen.lowest(kth, error[many])
        floor[many] = np.maximum(floor[many], screen.lowest(here, error[many]))
        reached = highest >= floor
    # Where nearly everything ties, gathering rows one by one would cost more than the plain product.
    crowded = np.count_nonzero(reached, axis=0) > max(16 * k, len(highest) // 16)
    if crowded.any():
        reached[:, crowded] = False
    owners, rows = _candidates(reached, product, floor, len(block))
    found = _nearer(queries, block, owners, rows, best, begin)
    if crowded.any():
        found[crowded] = _direct(queries[torch.from_numpy(crowded)], block, best[crowded], begin)
    return found


def _candidates(
    reached: NDArray[np.bool_], product: Tensor, floor: NDArray[np.float32], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(query, row of the block) pairs that may be among the nearest, by query."""
    groups, owners = np.nonzero(reached)
    by_query = np.argsort(owners.astype(np.uint16), kind="stable")  # sorted by digits, as short numbers are
    groups, owners = groups[by_query], owners[by_query]
    seen = product[torch.from_numpy(groups), :, torch.from_numpy(owners)].float().numpy()
    rows = groups[:, None] * GROUP + np.arange(GROUP)
    possible = (seen >= floor[owners, None]) & (rows < size)
    return np.repeat(owners, GROUP)[possible.ravel()], rows[possible]


def _nearer(
    queries: Tensor,
    block: Tensor,
    owners: NDArray[np.int64],
    rows: NDArray[np.int64],
    best: NDArray[np.int64],
    begin: int,
) -> NDArray[np.int64]:
    """The best of these pairs, from float32 products, and of the best so far.

    Query, similarity (falling) and row are packed into one whole number, so that one sort settles all, ties included.
    """
    keys = _keys(_dots(queries, block, owners, rows), torch.from_numpy(rows + begin)).numpy()
    nearer = keys < best[owners, -1]
    known = ((np.arange(len(queries))[:, None] << OWNER) | best).ravel()
    ordered = np.sort(np.concatenate([known, (owners[nearer] << OWNER) | keys[nearer]]))
    counts = best.shape[1] + np.bincount(owners[nearer], minlength=len(queries))
    places = (np.cumsum(counts) - counts)[:, None] + np.arange(best.shape[1])
    return np.asarray(ordered[places] & NOTHING)


def _dots(queries: Tensor, block: Tensor, owners: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor:
    """The product of each pair; pairs are by query."""
    starts = np.searchsorted(owners, np.arange(len(queries) + 1))
    places, size = (torch.from_numpy(starts), torch.from_numpy(rows)), (len(queries), len(block))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        pattern = torch.sparse_csr_tensor(*places, torch.zeros(len(rows)), size, check_invariants=False)
    # A tenth of the time that gathering rows, query by query, took.
    found: Tensor = torch.sparse.sampled_addmm(pattern, queries, block.T, beta=0.0).values()
    return found


def _direct(queries: Tensor, block: Tensor, best: NDArray[np.int64], begin: int) -> NDArray[np.int64]:
    """All similarities of a block at once, then a partial selection among them and the best so far."""
    found = np.empty_like(best)
    few = max(1, 2**23 // len(block))
    for start in range(0, len(queries), few):
        some = slice(start, start + few)
        keys = _keys(queries[some] @ block.T, torch.arange(begin, begin + len(block), device=block.device))
        known = torch.from_numpy(best[some]).to(block.device)
        found[some] = torch.cat([known, keys], 1).topk(best.shape[1], largest=False).values.cpu().numpy()
    return found


def _keys(similarities: Tensor, rows: Tensor) -> Tensor:
    return ((2 * STEPS - (similarities * STEPS).round().long()) << FALLING) | rows
