"""The first k of a gallery that goes by in blocks, against sorting everything at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.classification import neighbours
from tasks.features import normalised
from tasks.retrieval import search
from tasks.retrieval.search import rankings, top_k
from tasks.rows import Rows
from tasks.unit_rows import UnitRows

DIM = 24


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks of the gallery and of the queries in a test of milliseconds."""
    monkeypatch.setattr(neighbours, "COLUMNS", 512)
    monkeypatch.setattr(neighbours, "TOGETHER", 16)
    monkeypatch.setattr(search, "HELD", 50 * DIM)


def unit(rows: int, seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(rows, DIM)))


def slowly(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    similarities = queries.astype(np.float64) @ gallery.astype(np.float64).T
    rows = np.argsort(-np.round(similarities * 2**20), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarities, rows, 1), rows


def ascending(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The worst order: nearly every row is nearer than all before it."""
    return gallery[np.argsort(gallery @ queries.mean(0))]


def alike(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """All within the fast pass's error of each other."""
    return normalised(queries.mean(0) + 1e-4 * gallery)


ORDERS: list[Callable[[np.ndarray, np.ndarray], np.ndarray]] = [lambda gallery, queries: gallery, ascending, alike]


@pytest.mark.parametrize("order", ORDERS, ids=["any", "ascending", "alike"])
@pytest.mark.parametrize(("rows", "k"), [(90, 1), (90, 90), (5003, 7), (5003, 40), (3001, 300)])
def test_the_same_as_sorting_everything(rows: int, k: int, order: Callable[..., np.ndarray]) -> None:
    queries = unit(117, 1)
    gallery = order(unit(rows, 2), queries)
    similarities, found = top_k(queries, gallery, k)
    exact, expected = slowly(queries, gallery, k)
    np.testing.assert_allclose(similarities, exact, atol=2e-6)
    chosen = np.take_along_axis(queries.astype(np.float64) @ gallery.T.astype(np.float64), found, 1)
    np.testing.assert_allclose(chosen, exact, atol=2e-6)
    assert all(len(set(row)) == k for row in found.tolist())
    if order is not alike:
        assert (found == expected).mean() > 0.98  # float32 and float64 may swap what is within a step of 1e-6


def test_copies_in_other_blocks_come_in_the_order_of_their_rows() -> None:
    once = unit(400, 3)
    gallery = np.tile(once, (9, 1))
    similarities, found = top_k(once[:20], gallery, 9)
    assert found.tolist() == [[query + 400 * copy for copy in range(9)] for query in range(20)]
    assert np.allclose(similarities, 1, atol=1e-6)


def test_zeros_are_at_a_right_angle_to_everything() -> None:
    gallery = unit(2000, 4)
    gallery[700] = 0
    similarities, found = top_k(np.zeros((1, DIM), np.float32), gallery, 3)
    assert found.tolist() == [[0, 1, 2]]
    assert similarities.tolist() == [[0, 0, 0]]
    away = -normalised(np.abs(gallery))
    away[700] = 0
    assert top_k(normalised(np.ones((1, DIM))), away, 1)[1].tolist() == [[700]]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_features_on_disk_of_any_length(tmp_path: Path, kind: type) -> None:
    features = (np.random.default_rng(5).normal(size=(3000, DIM)) * 7).astype(kind)
    features[11] = 0
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    taken = np.random.default_rng(6).permutation(3000)[:2500]
    gallery, queries = UnitRows(Rows(((mapped, taken),))), UnitRows(Rows(((mapped, np.arange(70)),)))
    similarities, found = top_k(queries, gallery, 12)
    whole, asked = normalised(features[taken].astype(np.float32)), normalised(features[:70].astype(np.float32))
    exact, expected = slowly(asked, whole, 12)
    np.testing.assert_allclose(similarities, exact, atol=2e-6)
    assert (found == expected).mean() > 0.98
    np.testing.assert_array_equal(top_k(asked, whole, 12)[1], found)


def test_rankings_are_the_same_from_disk_as_from_memory() -> None:
    # At length one these are all 1/4 or -1/4, so that no order of adding them up rounds.
    features = np.random.default_rng(7).choice([-3, 3], size=(900, 16)).astype(np.float32)
    labels = np.arange(900) % 9
    rows = UnitRows(Rows(((features, np.arange(900)),)))
    assert features.size > search.HELD  # so it is read again for every few queries
    streamed = list(rankings(rows, labels, rows, labels, leave_one_out=True))
    held = list(rankings(normalised(features), labels, normalised(features), labels, leave_one_out=True))
    for one, other in zip(streamed, held, strict=True):
        assert one is not None
        assert other is not None
        assert [column.tolist() for column in vars(one).values()] == [
            column.tolist() for column in vars(other).values()
        ]


def test_k_beyond_the_gallery_is_refused() -> None:
    with pytest.raises(ValueError, match=r"k must be in 1\.\.4 .* got 5"):
        top_k(unit(2, 0), unit(4, 0), 5)
