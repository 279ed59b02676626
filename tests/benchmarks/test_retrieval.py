"""Retrieval mAP against the usual computation: a product, a full argsort, then a walk over the ranks."""

import time

import numpy as np
import pytest

from tasks.features import normalised
from tasks.retrieval.ranking import average_precision
from tasks.retrieval.search import rankings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DIM = 256


def argsort_style(queries: np.ndarray, asked: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    """In the manner of revisitop: argsort(-scores, axis=0) of (gallery, queries), then the right answers' places.

    Its mean is finite, not of trapezoids, so that both compute the same number; it goes in bounded memory as ours does.
    """
    found = []
    for begin in range(0, len(queries), 16):
        ranks = np.argsort(-(gallery @ queries[begin : begin + 16].T), axis=0)
        for row, label in zip(ranks.T, asked[begin : begin + 16], strict=True):
            places = np.arange(len(row))[np.isin(row, np.flatnonzero(labels == label))]
            found.append(((np.arange(len(places)) + 1) / (places + 1)).mean())
    return float(np.mean(found))


def rowwise(queries: np.ndarray, asked: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    """The same sorted as kindly as can be: contiguous rows, and right answers told by their labels."""
    found = []
    for begin in range(0, len(queries), 16):
        ranks = np.argsort(-(queries[begin : begin + 16] @ gallery.T), axis=1)
        for row, label in zip(ranks, asked[begin : begin + 16], strict=True):
            places = np.flatnonzero(labels[row] == label)
            found.append(((np.arange(len(places)) + 1) / (places + 1)).mean())
    return float(np.mean(found))


def ours(queries: np.ndarray, asked: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([average_precision(one) for one in rankings(queries, asked, gallery, labels) if one]))


@pytest.mark.parametrize(("size", "count"), [(10**5, 128), (10**6, 32)])
def test_three_times_an_argsort(size: int, count: int) -> None:
    generator = np.random.default_rng(0)
    classes = size // 100
    means = generator.standard_normal((classes, DIM), dtype=np.float32)
    labels, asked = generator.integers(0, classes, size), generator.integers(0, classes, count)
    gallery = normalised(means[labels] + 2 * generator.standard_normal((size, DIM), dtype=np.float32))
    queries = normalised(means[asked] + 2 * generator.standard_normal((count, DIM), dtype=np.float32))
    seconds: dict[str, list[float]] = {}
    for turn in range(6):
        values = []
        for method in (ours, argsort_style, rowwise):
            begin = time.perf_counter()
            values.append(method(queries, asked, gallery, labels))
            if turn:  # the first round warms up
                seconds.setdefault(method.__name__, []).append(time.perf_counter() - begin)
        assert values == pytest.approx([values[-1]] * 3, abs=1e-4)
    ratios = {name: np.divide(seconds[name], seconds["ours"]) for name in ("argsort_style", "rowwise")}
    print(f"gallery {size:,}: ours {np.median(seconds['ours']):.3f} s; rivals over ours: {ratios}")
    # The row-wise rival is printed beside: at 10^5 the product, the same for all, is most of what is left (2.9 seen).
    assert np.median(ratios["argsort_style"]) >= 3
