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
from torch import Tensor

GROUP = 16
QUERIES = 256
COLUMNS = 16384
TIE = 2.0**-20
"""Similarities are rounded to this (float32 dot products of unit vectors differ by less), so ties are ties."""

PAIRS = 4096
"""(query, group) pairs computed again at once."""


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
    for begin in range(0, len(ours), QUERIES):
        block = slice(begin, begin + QUERIES)
        part = ours[block]
        similarities[block], rows[block] = _screened(part, theirs, screen, k) if screen else _direct(part, theirs, k)
    return similarities, rows


@dataclass(frozen=True)
class _Screen:
    """The gallery as the fast pass sees it, and what that costs in precision."""

    rows: Tensor
    error: float
    rounding: float


def _screen(gallery: Tensor) -> _Screen:
    fast = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    accumulated = gallery.shape[1] * 2.0**-23
    if not fast:
        return _Screen(gallery, accumulated, 0.0)
    rows = torch.empty(gallery.shape, dtype=torch.bfloat16)
    worst = 0.0
    for begin in range(0, len(gallery), COLUMNS):
        block = slice(begin, begin + COLUMNS)
        rows[block] = gallery[block]
        worst = max(worst, float((gallery[block] - rows[block].float()).norm(dim=1).max()))
    return _Screen(rows, worst + accumulated, 2.0**-8)


def _screened(queries: Tensor, gallery: Tensor, screen: _Screen, k: int) -> tuple[np.ndarray, np.ndarray]:
    seen = queries.to(screen.rows.dtype)
    highest = _group_maxima(seen, screen.rows)
    floor = torch.from_numpy(-np.partition(-highest.numpy(), k - 1, axis=1)[:, k - 1 : k])
    error = (queries - seen.float()).norm(dim=1, keepdim=True) + 1.01 * screen.error
    floor = floor - 2 * error - 2.02 * screen.rounding * floor.abs()
    reached = highest >= floor
    counts = reached.sum(1)
    # Where nearly everything ties, gathering rows one by one would cost more than the plain product.
    crowded = counts > max(8 * k, reached.shape[1] // 16)
    reached[crowded] = False
    similarities, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    if bool(crowded.any()):
        chosen = crowded.numpy()
        similarities[chosen], rows[chosen] = _direct(queries[crowded], gallery, k)
    owners, groups = reached.nonzero(as_tuple=True)
    exact = _pair_similarities(queries, gallery, owners, groups)
    ends = reached.sum(1).cumsum(0).tolist()
    columns = (groups[:, None] * GROUP + torch.arange(GROUP)).numpy()
    for query, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if begin < end:
            found, place = exact[begin:end].reshape(-1), columns[begin:end].reshape(-1)
            best = np.lexsort((place, -found))[:k]
            similarities[query], rows[query] = found[best], place[best]
    return similarities, rows


def _group_maxima(queries: Tensor, gallery: Tensor) -> Tensor:
    """(queries, groups) float32. The last group may be short."""
    highest = torch.empty(len(queries), -(-len(gallery) // GROUP))
    product = torch.empty(len(queries), COLUMNS, dtype=gallery.dtype)
    for begin in range(0, len(gallery), COLUMNS):
        columns = gallery[begin : begin + COLUMNS]
        out = product if len(columns) == COLUMNS else torch.empty(len(queries), len(columns), dtype=gallery.dtype)
        torch.mm(queries, columns.T, out=out)
        short = -len(columns) % GROUP
        if short:
            out = torch.nn.functional.pad(out, (0, short), value=-torch.inf)
        group = begin // GROUP
        highest[:, group : group + out.shape[1] // GROUP] = out.view(len(queries), -1, GROUP).amax(-1)
    return highest


def _pair_similarities(queries: Tensor, gallery: Tensor, owners: Tensor, groups: Tensor) -> np.ndarray:
    """(pairs, GROUP): float32 similarities of each pair's query to its group's rows, -inf past the gallery's end."""
    exact = np.empty((len(owners), GROUP), np.float32)
    for begin in range(0, len(owners), PAIRS):
        block = slice(begin, begin + PAIRS)
        columns = groups[block, None] * GROUP + torch.arange(GROUP)
        members = gallery[columns.clamp_max(len(gallery) - 1).flatten()].view(len(columns), GROUP, -1)
        values = torch.bmm(members, queries[owners[block], :, None])[:, :, 0]
        exact[block] = torch.where(columns < len(gallery), _rounded(values), -torch.inf).numpy()
    return exact


def _rounded(similarities: Tensor) -> Tensor:
    return (similarities / TIE).round() * TIE


def _direct(queries: Tensor, gallery: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All similarities of a few queries at once, then a partial selection."""
    similarities, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    few = max(1, 2**24 // len(gallery))
    for begin in range(0, len(queries), few):
        values = _rounded(queries[begin : begin + few] @ gallery.T).numpy()
        for query, line in enumerate(values, start=begin):
            last = np.partition(line, len(line) - k)[len(line) - k]
            above = np.flatnonzero(line > last)
            chosen = np.concatenate([above, np.flatnonzero(line == last)[: k - len(above)]])
            rows[query] = chosen[np.lexsort((chosen, -line[chosen]))]
            similarities[query] = line[rows[query]]
    return similarities, rows
