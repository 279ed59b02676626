"""The kNN vote against lightly's, a dinov2-style module and faiss's flat index, gallery by gallery."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tasks.classification.knn import vote
from tasks.classification.neighbours import nearest
from tasks.features import normalised

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DIM, CLASSES, K, TEMPERATURE = 384, 100, 20, 0.07


def ours(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> np.ndarray:
    similarities, rows = nearest(queries, gallery, K)
    return vote(similarities, labels[rows], CLASSES, TEMPERATURE).argmax(1)


def lightlys(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """In blocks of 256 queries, since it holds all similarities of a call."""
    from lightly.utils.benchmarking import knn_predict

    bank, targets = torch.from_numpy(gallery).T.contiguous(), torch.from_numpy(labels)
    blocks = [
        knn_predict(block, bank, targets, CLASSES, K, TEMPERATURE) for block in torch.from_numpy(queries).split(256)
    ]
    return torch.cat(blocks)[:, 0].numpy()


def dinov2_style(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Similarities by one product, topk, softmax over neighbours, votes by one-hot sums."""
    bank, targets = torch.from_numpy(gallery).T.contiguous(), torch.from_numpy(labels)

    def block(some: Tensor) -> Tensor:
        near, rows = (some @ bank).topk(K, largest=True, sorted=True)
        weights = torch.softmax(near / TEMPERATURE, 1)
        return (torch.nn.functional.one_hot(targets[rows], CLASSES) * weights[:, :, None]).sum(1).argmax(1)

    return torch.cat([block(some) for some in torch.from_numpy(queries).split(256)]).numpy()


def faisss(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> np.ndarray:
    import faiss

    index = faiss.IndexFlatIP(DIM)
    index.add(gallery)
    similarities, rows = index.search(queries, K)
    return vote(similarities, labels[rows], CLASSES, TEMPERATURE).argmax(1)


RIVALS: dict[str, Callable[..., np.ndarray]] = {"lightly": lightlys, "dinov2-style": dinov2_style, "faiss": faisss}


@pytest.mark.parametrize(
    ("size", "asked", "wanted", "rounds"), [(10**4, 2048, 1.0, 7), (10**5, 512, 1.0, 5), (10**6, 256, 1.3, 5)]
)
def test_never_slower_than_the_fastest_rival(size: int, asked: int, wanted: float, rounds: int) -> None:
    pytest.importorskip("faiss")
    pytest.importorskip("lightly")
    generator = np.random.default_rng(0)
    means = generator.normal(size=(CLASSES, DIM)).astype(np.float32)
    labels = generator.integers(0, CLASSES, size)
    gallery = normalised(means[labels] + 1.5 * generator.standard_normal((size, DIM), dtype=np.float32))
    truth = generator.integers(0, CLASSES, asked)
    queries = normalised(means[truth] + 1.5 * generator.standard_normal((asked, DIM), dtype=np.float32))
    seconds: dict[str, list[float]] = {}
    answers: dict[str, np.ndarray] = {}
    for turn in range(rounds + 1):
        for name, method in {"ours": ours, **RIVALS}.items():
            begin = time.perf_counter()
            answers[name] = method(queries, gallery, labels)
            if turn:  # the first round warms up
                seconds.setdefault(name, []).append(time.perf_counter() - begin)
    ratios = {name: float(np.median(np.divide(seconds[name], seconds["ours"]))) for name in RIVALS}
    print(f"gallery {size:,}: ours {np.median(seconds['ours']):.3f} s; rivals over ours: {ratios}")
    for name in RIVALS:
        assert (answers[name] == answers["ours"]).mean() > 0.995
    assert min(ratios.values()) >= wanted
