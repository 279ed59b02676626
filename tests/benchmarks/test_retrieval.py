"""Retrieval mAP against the usual computation: a product, a full argsort, then a walk over the ranks.

And the first 100 of a million against faiss's flat index on the same cores.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.features import normalised
from tasks.retrieval.ranking import average_precision
from tasks.retrieval.search import rankings, top_k
from tasks.rows import Rows
from tasks.unit_rows import UnitRows

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


@pytest.mark.usefixtures("two_cores_and_no_shape_checks")
def test_the_first_hundred_of_a_million_as_fast_as_faiss() -> None:
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(torch.get_num_threads())
    queries, gallery = clustered(1000, 1), clustered(10**6, 2)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    seconds: dict[str, list[float]] = {"ours": [], "faiss": []}
    for _ in range(2):
        begin = time.perf_counter()
        similarities, rows = top_k(queries, gallery, 100)
        seconds["ours"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        theirs, their_rows = index.search(queries, 100)
        seconds["faiss"].append(time.perf_counter() - begin)
    np.testing.assert_allclose(similarities, theirs, atol=3e-6)
    assert (rows == their_rows).mean() > 0.99  # where two differ by less than rounding, either may be first
    print(f"1,000,000 x 512, first 100 of 1,000 queries, seconds: {seconds}")
    assert min(seconds["faiss"]) >= min(seconds["ours"])


def clustered(rows: int, seed: int, dim: int = 512) -> np.ndarray:
    """Unit vectors about a thousand means, in place: two copies of a million would not fit everywhere."""
    means = np.random.default_rng(0).standard_normal((1000, dim), dtype=np.float32)
    generator = np.random.default_rng(seed)
    made = np.empty((rows, dim), np.float32)
    for begin in range(0, rows, 10_000):
        part = made[begin : begin + 10_000]
        part[:] = means[generator.integers(0, 1000, len(part))]
        part += 1.5 * generator.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


def most_allocated(work: Callable[[], object]) -> int:
    """Bytes of anonymous memory above what was there, at the most: pages of a mapped file are not the process's."""

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))

    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # else what an earlier test freed would be taken again, and count as nothing
    before, most, done = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, anonymous() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return most


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.usefixtures("two_cores_and_no_shape_checks")
def test_memory_does_not_grow_with_the_gallery(tmp_path: Path, kind: type) -> None:
    """Four times the rows on disk, features of any length: the same few blocks are held, for the top and for all."""
    taken: dict[str, list[int]] = {"top": [], "whole": []}
    for rows in (250_000, 10**6):
        matrix = np.lib.format.open_memmap(tmp_path / f"{rows}.npy", "w+", kind, (rows, 256))
        for begin in range(0, rows, 10_000):
            matrix[begin : begin + 10_000] = np.random.default_rng(begin).standard_normal((10_000, 256), np.float32)
        matrix.flush()
        mapped = np.load(tmp_path / f"{rows}.npy", mmap_mode="r")
        gallery, queries = UnitRows(Rows(((mapped, np.arange(rows)),))), UnitRows(Rows(((mapped, np.arange(200)),)))
        labels = np.arange(rows) % 1000
        top_k(queries, gallery, 100)  # what is allocated once and kept
        taken["top"].append(most_allocated(lambda: top_k(queries, gallery, 100)))  # noqa: B023
        taken["whole"].append(
            most_allocated(lambda: list(rankings(queries, labels[:200], gallery, labels)))  # noqa: B023
        )
    print({name: [f"{each / 2**20:.0f} MB" for each in sizes] for name, sizes in taken.items()})
    assert max(taken["top"]) < 300 * 2**20
    assert max(taken["whole"]) < 700 * 2**20  # 512 MB of similarities, whatever the gallery
    assert taken["top"][1] < 1.2 * taken["top"][0] + 2**25
