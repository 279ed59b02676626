"""Retrieval against ranking everything by hand."""

import tracemalloc

import numpy as np
import pytest

from tasks.features import normalised
from tasks.retrieval import search
from tasks.retrieval.retrieval import Retrieval


def by_hand(similarities: np.ndarray, relevant: np.ndarray) -> tuple[float, float, float, float]:
    order = np.argsort(-similarities)
    right = relevant[order]
    places = np.flatnonzero(right)
    precisions = np.cumsum(right) / np.arange(1, len(right) + 1)
    return precisions[places].mean(), 1 / (places[0] + 1), right[:5].any(), right[:10].mean()


METRICS = ("mAP", "mrr", "recall@5", "precision@10")


@pytest.mark.parametrize("held", [2**24, 1000])
def test_query_and_gallery(world, blobs, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(search, "HELD", held)
    (queries, asked), (gallery, labels) = blobs(60, 6, 1), blobs(300, 6, 2)
    dataset = world.dataset("d", tuple("abcdef"), {"query": (queries, asked), "gallery": (gallery, labels)})
    answers = world.run(Retrieval(), dataset=dataset)
    similarities = normalised(queries) @ normalised(gallery).T
    rows = [by_hand(similarities[i], labels == asked[i]) for i in range(60)]
    assert [answers[metric] for metric in METRICS] == pytest.approx(np.mean(rows, axis=0).tolist(), abs=1e-3)
    assert answers.outputs["test"]["n_positives"].tolist() == [50] * 60


def test_leave_one_out_never_finds_itself(world, blobs) -> None:
    features, labels = blobs(90, 6, 1)
    answers = world.run(Retrieval(), dataset=world.dataset("d", tuple("abcdef"), {"all": (features, labels)}))
    similarities = normalised(features) @ normalised(features).T
    rows = []
    for i in range(90):
        others = np.arange(90) != i
        rows.append(by_hand(similarities[i, others], (labels == labels[i])[others]))
    assert [answers[metric] for metric in METRICS] == pytest.approx(np.mean(rows, axis=0).tolist(), abs=1e-3)
    assert answers.notes["protocol"].value == "leave one out"


def test_a_perfect_and_a_constant_encoder(world) -> None:
    labels = np.repeat(np.arange(4), 5)
    perfect = world.dataset("p", tuple("abcd"), {"all": (np.eye(4, dtype=np.float32)[labels], labels)})
    assert world.run(Retrieval(), dataset=perfect)["mAP"] == pytest.approx(1)
    generator = np.random.default_rng(0)
    shuffled = [by_hand(generator.random(19), np.arange(19) < 4) for _ in range(20000)]
    for value in (0.0, 3.0):
        constant = world.dataset(f"c{value}", tuple("abcd"), {"all": (np.full((20, 7), value, np.float32), labels)})
        answers = world.run(Retrieval(), dataset=constant)
        assert [answers[metric] for metric in METRICS] == pytest.approx(np.mean(shuffled, axis=0).tolist(), abs=0.01)
        assert answers["precision@1"] == pytest.approx(4 / 19)
        assert answers.notes["collapsed"].warning


def test_the_full_matrix_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "HELD", 2**18)
    generator = np.random.default_rng(0)
    gallery, labels = normalised(generator.normal(size=(20000, 8))), generator.integers(0, 200, 20000)
    tracemalloc.start()
    found = sum(one is not None for one in search.rankings(gallery[:1000], labels[:1000], gallery, labels, True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 1000
    assert peak < 1000 * 20000 * 4 / 10
