"""What retrieval may do to features and rankings, each against a slow twin written from its paper's formulas."""

import tracemalloc
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.decomposition import PCA

from backbones.base import Preprocess
from tasks.base import Tools
from tasks.features import normalised
from tasks.retrieval import lines, reciprocal
from tasks.retrieval.expansion import expanded
from tasks.retrieval.lines import Asked, nearest, ranked, similarities
from tasks.retrieval.multi_scale import check_scale, scaled
from tasks.retrieval.reciprocal import reciprocal_lines
from tasks.retrieval.retrieval import Retrieval
from tasks.retrieval.whitening import fit_whitening
from tests.feature_fakes import Fake


def unit(rows: int, dim: int, seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(rows, dim)) + 0.5)


def expansion_by_hand(queries: np.ndarray, gallery: np.ndarray, count: int, alpha: float, alone: bool) -> np.ndarray:
    made = []
    for i, query in enumerate(queries):
        cosines = gallery @ query
        others = [j for j in np.argsort(-cosines) if not (alone and i == j)][:count]
        mixed = query + sum(max(cosines[j], 0) ** alpha * gallery[j] for j in others)
        made.append(mixed / np.linalg.norm(mixed))
    return np.array(made)


@pytest.mark.parametrize(("count", "alpha", "alone"), list(product([1, 5, 100], [0.0, 3.0], [False, True])))
def test_query_expansion(count: int, alpha: float, alone: bool) -> None:
    gallery = unit(40, 6, 1)
    queries = gallery if alone else unit(15, 6, 2)
    kept = queries.copy()
    found = expanded(queries, gallery, count, alpha, alone)
    np.testing.assert_allclose(found, expansion_by_hand(queries, gallery, count, alpha, alone), atol=1e-5)
    np.testing.assert_array_equal(queries, kept)


def test_an_image_of_zeros_finds_nothing_to_mix_in() -> None:
    gallery = unit(10, 4, 1)
    queries = np.zeros((2, 4), np.float32)
    queries[1] = gallery[0]
    found = expanded(queries, gallery, 3, 3.0)
    assert not found[0].any()
    assert np.linalg.norm(found[1]) == pytest.approx(1)


def reranked_by_hand(queries: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """Every pair of everything, sets as Python sets, vectors of full length: one minus d*, a row a query."""
    images = np.concatenate([queries, gallery]).astype(np.float64)
    count = len(images)
    distance = np.array([[((p - g) ** 2).sum() for g in images] for p in images])
    distance = distance / distance.max(1, keepdims=True)
    order = [[i, *(j for j in np.argsort(distance[i]) if j != i)] for i in range(count)]

    def listed(i: int, k: int) -> set[int]:
        return set(order[i][: k + 1])

    def mutual(i: int, k: int) -> set[int]:
        return {j for j in listed(i, k) if i in listed(j, k)}

    signature = np.zeros((count, count))
    for i in range(count):
        core = mutual(i, k1)
        members = set(core)
        for j in core:
            half = mutual(j, round(k1 / 2))
            if len(core & half) >= 2 / 3 * len(half):
                members |= half
        for j in members:
            signature[i, j] = np.exp(-distance[i, j])
        signature[i] /= signature[i].sum()
    averaged = np.array([np.mean([signature[j] for j in order[i][:k2]], axis=0) for i in range(count)])
    answer = np.empty((len(queries), len(gallery)))
    for q in range(len(queries)):
        for g in range(len(gallery)):
            one, other = averaged[q], averaged[len(queries) + g]
            jaccard = 1 - np.minimum(one, other).sum() / np.maximum(one, other).sum()
            answer[q, g] = 1 - (1 - weight) * jaccard - weight * distance[q, len(queries) + g]
    return answer


@pytest.mark.parametrize(("k1", "k2", "weight"), [(6, 3, 0.3), (1, 1, 0.0), (5, 2, 1.0), (20, 6, 0.3), (100, 100, 0.5)])
def test_reranking(k1: int, k2: int, weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reciprocal, "ROWS", 7)
    monkeypatch.setattr(reciprocal, "HELD", 1000)
    queries, gallery = unit(9, 4, 3), unit(31, 4, 4)
    found = np.array(list(reciprocal_lines(queries, gallery, k1, k2, weight)))
    np.testing.assert_allclose(found, reranked_by_hand(queries, gallery, k1, k2, weight), atol=2e-6)


def test_reranking_where_each_image_is_to_find_the_others() -> None:
    """Then they are all there is: no image is there twice, once to ask and once to be found."""
    gallery = unit(25, 4, 5)
    found = np.array(list(reciprocal_lines(gallery, gallery, 5, 3, 0.3, leave_one_out=True)))
    alone = reranked_by_hand(gallery[:0], gallery, 5, 3, 0.3)
    assert alone.shape == (0, 25)
    for i in (0, 7, 24):
        rest = np.arange(25) != i
        by_hand = reranked_by_hand(gallery[[i]], gallery[rest], 5, 3, 0.3)
        np.testing.assert_allclose(found[i][rest], by_hand[0], atol=2e-6)


def test_reranking_never_holds_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reciprocal, "HELD", 2**19)
    monkeypatch.setattr(reciprocal, "ROWS", 256)
    monkeypatch.setattr(lines, "HELD", 2**17)
    gallery = unit(5000, 8, 6)
    tracemalloc.start()
    assert sum(1 for _ in reciprocal_lines(gallery[:40], gallery, 10, 3, 0.3)) == 40
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000 * 5000 * 4 / 3


def test_images_that_are_all_alike_or_nothing_have_a_rank() -> None:
    same = np.tile(unit(1, 4, 7), (12, 1))
    found = np.array(list(reciprocal_lines(same[:2], same, 3, 2, 0.3)))
    assert np.isfinite(found).all()
    nothing = np.zeros((12, 4), np.float32)
    assert np.isfinite(np.array(list(reciprocal_lines(nothing[:2], nothing, 3, 2, 0.3)))).all()


@pytest.mark.parametrize("kept", [3, 8])
def test_whitening_is_pca_with_unit_variances(kept: int) -> None:
    mixing = np.random.default_rng(1).normal(size=(8, 8)) * np.arange(1, 9)
    learnt, asked = (normalised(np.random.default_rng(seed).normal(size=(200, 8)) @ mixing + 3) for seed in (2, 3))
    whiten = fit_whitening(learnt, kept)
    ours, reference = whiten(asked), PCA(kept, whiten=True, svd_solver="full").fit(learnt.astype(np.float64))
    theirs = normalised(reference.transform(asked.astype(np.float64)))
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-4)
    moved = (learnt - whiten.mean) @ whiten.directions
    np.testing.assert_allclose(moved.T @ moved / 200, np.eye(kept), atol=1e-4)
    assert not whiten(np.zeros((1, 8), np.float32)).any()


def test_whitening_keeps_no_direction_that_is_rounding() -> None:
    flat = np.zeros((50, 6), np.float32)
    flat[:, :2] = np.random.default_rng(0).normal(size=(50, 2))
    assert fit_whitening(normalised(flat), 6).directions.shape == (6, 2)
    with pytest.raises(ValueError, match=r"50 images .* all have the same features"):
        fit_whitening(np.ones((50, 6), np.float32), 2)


class Sized(Fake):
    """Takes whole multiples of 8 pixels only; its feature is how many there are."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] % 8:
            raise AssertionError(f"{images.shape[-1]} is no multiple of 8\nand more")
        return torch.full((len(images), 1), float(images.shape[-1]))


def test_a_scale_is_another_input_size_of_the_same_weights() -> None:
    backbone = Sized(side=32)
    backbone.preprocess = Preprocess((32, 32), 40, "center", "bilinear", (0.5,) * 3, (0.5,) * 3)
    half = scaled(backbone, 0.5)
    assert (half.preprocess.size, half.preprocess.resize) == ((16, 16), 20)
    assert (backbone.preprocess.size, backbone.preprocess.resize) == ((32, 32), 40)
    assert scaled(backbone, 1.0) is backbone
    assert half.card is backbone.card
    check_scale(half, "pooled")
    with pytest.raises(ValueError, match=r"fake cannot be read at 23 x 23 pixels, .*: 23 is no multiple of 8$"):
        check_scale(scaled(backbone, 0.7071), "pooled")


def test_scales_are_averaged_at_length_one(world: Any, blobs: Any) -> None:
    features = {scale: blobs(30, 3, int(scale * 10))[0] for scale in (1.0, 0.5)}
    labels = blobs(30, 3, 1)[1]
    backbone = Sized(side=32)
    dataset = world.dataset("d", ("a", "b", "c"), {"all": (features[1.0], labels)})

    def extract(asked: Any, images: Any, layer: str) -> np.ndarray:
        return features[asked.preprocess.size[0] / 32]

    task = Retrieval(scales=(1.0, 0.5))
    assert task.refusal(backbone, {"dataset": [dataset]}) is None
    scores = {one.metric: one.value for one in task.run(backbone, {"dataset": [dataset]}, Tools(extract), 0)
              if hasattr(one, "metric")}  # fmt: skip
    mixed = normalised(features[1.0]) + normalised(features[0.5])
    alone = world.run(Retrieval(), dataset=world.dataset("m", ("a", "b", "c"), {"all": (mixed, labels)}))
    assert scores["mAP"] == pytest.approx(alone["mAP"])
    assert scores["mAP"] != pytest.approx(world.run(Retrieval(), dataset=dataset)["mAP"])


def average_precision(order: np.ndarray, right: np.ndarray) -> float:
    places = np.flatnonzero(right[order])
    return float(((np.arange(len(places)) + 1) / (places + 1)).mean())


def test_the_options_work_in_order_through_the_task(world: Any, blobs: Any) -> None:
    (queries, asked), (gallery, labels), (learnt, _) = blobs(20, 4, 1), blobs(60, 4, 2), blobs(80, 4, 3)
    splits = {"query": (queries, asked), "gallery": (gallery, labels)}
    dataset = world.dataset("d", tuple("abcd"), splits)
    other = world.dataset("other", tuple("abcd"), {"train": (learnt, np.zeros(80, int))})
    task = Retrieval(whiten=10, expand=3, expand_alpha=2, rerank=8, rerank_k2=3, rerank_weight=0.4)
    answers = world.run(task, dataset=dataset, whitening=[other])
    whiten = fit_whitening(normalised(learnt), 10)
    moved = whiten(normalised(gallery))
    mixed = normalised(expansion_by_hand(whiten(normalised(queries)), moved, 3, 2, False))
    scores = reranked_by_hand(mixed, moved, 8, 3, 0.4)
    by_hand = [average_precision(np.argsort(-line), labels == label) for line, label in zip(scores, asked, strict=True)]
    assert answers["mAP"] == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert answers.notes["whitened_dim"].value == 10
    own = world.dataset("own", tuple("abcd"), splits | {"train": (learnt, np.zeros(80, int))})
    assert world.run(task, dataset=own)["mAP"] == answers["mAP"]
    alone = world.dataset("alone", tuple("abcd"), {"all": (gallery, labels)})
    found = world.run(Retrieval(rerank=8), dataset=alone)
    assert found.notes["protocol"].value == "leave one out"
    assert 0 < found["mAP"] < 1


def test_constant_features_get_chance_whatever_is_on(world: Any) -> None:
    labels = np.repeat(np.arange(4), 5)
    sides = {"query": (np.ones((20, 3)), labels), "gallery": (np.ones((20, 3)), labels)}
    constant = world.dataset("c", tuple("abcd"), sides)
    plain = world.run(Retrieval(), dataset=constant)
    assert plain["precision@1"] == pytest.approx(0.25)
    for option in (Retrieval(expand=3), Retrieval(expand=20, expand_alpha=0.0)):
        assert world.run(option, dataset=constant)["mAP"] == pytest.approx(plain["mAP"])


def test_options_that_do_not_fit_are_refused(world: Any, blobs: Any) -> None:
    dataset = world.dataset("d", tuple("ab"), {"query": blobs(6, 2, 1), "gallery": blobs(8, 2, 2)})
    whole = world.dataset("w", tuple("ab"), {"all": blobs(8, 2, 2)})
    few = world.dataset("few", tuple("ab"), {"train": blobs(5, 2, 3)})
    leaking = replace(few, splits={"train": replace(few.splits["train"], sha256=dataset.splits["query"].sha256[:5])})

    def why(task: Retrieval, asked: Any, *whitening: Any) -> str:
        return task.refusal(world.nobody, {"dataset": [asked], "whitening": list(whitening)}) or ""

    assert "'d' has no train split to learn whitening from" in why(Retrieval(whiten=2), dataset)
    assert "whiten is 5; from 5 images at most 4" in why(Retrieval(whiten=5), dataset, few)
    assert "5 images to learn whitening from are also among" in why(Retrieval(whiten=2), dataset, leaking)
    assert "8 images to learn whitening from are also among" in why(Retrieval(whiten=2), whole)
    assert "whiten says to keep 0 directions" in why(Retrieval(), dataset, few)
    assert "do not go together" in why(Retrieval(expand=2, rerank=3), whole)
    assert why(Retrieval(whiten=4, expand=2, rerank=3), dataset, few) == ""
    for wrong in ({"scales": ()}, {"scales": (1.0, 1.0)}, {"scales": (0.0,)}, {"rerank_weight": 2}, {"expand": -1}):
        with pytest.raises(ValidationError):
            Retrieval(**wrong)


def test_lines_are_ranked_without_what_is_ignored() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        line = (generator.integers(0, 6, 30) / 8).astype(np.float32)
        rows = generator.permutation(30)
        right, ignored = rows[:4], rows[4:11]
        (found,) = ranked(line, [Asked(right, ignored)])
        kept = np.setdiff1d(np.arange(30), ignored)
        place = {row: at for at, row in enumerate(kept.tolist())}
        (plain,) = ranked(line[kept], [Asked(np.array([place[row] for row in right.tolist()]), rows[:0])])
        assert found is not None
        assert plain is not None
        for name in ("above", "size", "right"):
            assert getattr(found, name).tolist() == getattr(plain, name).tolist()
        by_hand = sorted(kept.tolist(), key=lambda row: (-line[row], row))
        assert nearest(line, ignored, 5).tolist() == by_hand[:5]
        assert nearest(line, ignored, 99).tolist() == by_hand
    assert ranked(line, [Asked(rows[:0], ignored)]) == [None]
    assert nearest(line, np.arange(30), 5).tolist() == []


def test_similarities_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HELD", 70)
    queries, gallery = unit(9, 4, 1), unit(30, 4, 2)
    np.testing.assert_allclose(np.array(list(similarities(queries, gallery))), queries @ gallery.T, atol=1e-6)
