"""k-reciprocal re-ranking: two images are near when they have the same neighbours (Zhong et al. 2017).

Only lists of neighbours are kept, never a matrix of all pairs. The cost is that every image, of queries and gallery, is
compared with every other once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import sparse

from tasks.retrieval.lines import Line, similarities
from tasks.retrieval.search import HELD, STEPS

ROWS = 4096
"""Images whose neighbours' neighbours are held at once."""


@dataclass(frozen=True)
class Neighbours:
    """``rows[i]``: i itself, then its nearest others, best first; ``farthest[i]``: the largest distance from i."""

    rows: Int64[np.ndarray, "n k"]
    farthest: Float64[np.ndarray, " n"]


def reciprocal_lines(
    queries: Float32[np.ndarray, "q dim"],
    gallery: Float32[np.ndarray, "n dim"],
    k1: int,
    k2: int,
    weight: float,
    leave_one_out: bool = False,
) -> Iterator[Line]:
    """One minus the re-ranked distance of every gallery image, query by query; rows have length one (or zero).

    d* = (1 - weight) d_J + weight d, with d = |p - g|^2 over its largest value for p, as the authors' own evaluation
    scales it, and d_J the Jaccard distance of the two images' :func:`signatures`. Queries and gallery are neighbours of
    one another alike, as there: a query's ranking also depends on the other queries. With ``leave_one_out`` query i is
    gallery row i, and there is nobody else.
    """
    images = gallery if leave_one_out else np.concatenate([queries, gallery])
    found = neighbours(images, k1)
    all_of_them = signatures(images, found, k1, k2)
    theirs = all_of_them[len(images) - len(gallery) :].tocsc()
    for query, line in enumerate(similarities(queries, gallery)):
        distance = _distances(line) / found.farthest[query]
        yield np.asarray(1 - (1 - weight) * _jaccard(all_of_them[query], theirs) - weight * distance, np.float32)


def neighbours(images: Float32[np.ndarray, "n dim"], k: int) -> Neighbours:
    """The ``k`` nearest of every image; of equals those that come first."""
    few, count = max(1, HELD // 8 // len(images)), min(k, len(images) - 1) + 1
    rows, farthest = np.empty((len(images), count), np.int64), np.empty(len(images))
    for begin in range(0, len(images), few):
        block = images[begin : begin + few] @ images.T
        own = np.arange(len(block))
        farthest[begin : begin + len(block)] = np.maximum(_distances(block).max(1), np.finfo(np.float32).eps)
        block[own, begin + own] = 4  # nearer than anything
        # Whole numbers that all differ: a partition of equals would pick whichever it meets.
        keys = -np.rint(block * np.float32(STEPS)).astype(np.int64) * len(images) + np.arange(len(images))
        first = np.argpartition(keys, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(keys, first, 1), axis=1)
        rows[begin : begin + len(block)] = np.take_along_axis(first, order, 1)
    return Neighbours(rows, farthest)


def signatures(images: Float32[np.ndarray, "n dim"], found: Neighbours, k1: int, k2: int) -> sparse.csr_matrix:
    """V, a row an image: e^-d for every image of its R*, summing to one, averaged over itself and k2 - 1 neighbours.

    With N(i, k) image i and its k nearest others: R(i, k) are those j of N(i, k) that have i in N(j, k); R*(i) is
    R(i, k1) and each R(j, k1 / 2), j in R(i, k1), of which two thirds or more are in R(i, k1).
    """
    near, close = _reciprocal(found.rows[:, : k1 + 1]), _reciprocal(found.rows[:, : round(k1 / 2) + 1])
    sizes = np.asarray(close.sum(1)).ravel()
    pieces = []
    for begin in range(0, len(images), ROWS):
        mine = near[begin : begin + ROWS]
        shared = (mine @ close.T).multiply(mine).tocoo()
        enough = 3 * shared.data >= 2 * sizes[shared.col]
        joined = sparse.csr_matrix((shared.data[enough], (shared.row[enough], shared.col[enough])), mine.shape)
        pieces.append(_weighted((mine + joined @ close).tocoo(), images, found.farthest, begin))
    weighted = sparse.vstack(pieces).tocsr()
    return (_lists(found.rows[:, :k2]) @ weighted / min(k2, found.rows.shape[1])).tocsr()


def _reciprocal(rows: Int64[np.ndarray, "n k"]) -> sparse.csr_matrix:
    listed = _lists(rows)
    return listed.multiply(listed.T).tocsr()


def _lists(rows: Int64[np.ndarray, "n k"]) -> sparse.csr_matrix:
    """One where a list names an image."""
    count, length = rows.shape
    starts = np.arange(0, rows.size + 1, length)
    return sparse.csr_matrix((np.ones(rows.size), rows.ravel(), starts), (count, count))


def _weighted(
    members: sparse.coo_matrix, images: Float32[np.ndarray, "n dim"], farthest: Float64[np.ndarray, " n"], begin: int
) -> sparse.csr_matrix:
    weights = np.empty(members.nnz)
    few = max(1, HELD // 8 // images.shape[1])
    for start in range(0, members.nnz, few):
        one, other = begin + members.row[start : start + few], members.col[start : start + few]
        cosines = np.einsum("nd,nd->n", images[one], images[other])
        weights[start : start + few] = np.exp(-_distances(np.where(one == other, 1, cosines)) / farthest[one])
    total = np.bincount(members.row, weights, members.shape[0])
    return sparse.csr_matrix((weights / total[members.row], (members.row, members.col)), members.shape)


def _jaccard(mine: sparse.csr_matrix, theirs: sparse.csc_matrix) -> Float64[np.ndarray, " n"]:
    """1 - sum of minima / sum of maxima; both sum to one, so that the maxima are 2 - the minima."""
    spans = [slice(theirs.indptr[column], theirs.indptr[column + 1]) for column in mine.indices]
    rows = np.concatenate([theirs.indices[span] for span in spans])
    both = [np.minimum(theirs.data[span], value) for span, value in zip(spans, mine.data, strict=True)]
    shared = np.bincount(rows, np.concatenate(both), theirs.shape[0])
    return np.asarray(1 - shared / (2 - shared))


def _distances(cosines: np.ndarray) -> np.ndarray:
    """Squared distances of vectors of length one; one of zeros is equally far from everything."""
    return np.maximum(2 - 2 * cosines.astype(np.float64), 0)
