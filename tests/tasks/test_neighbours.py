"""Nearest neighbours against sorting everything."""

import numpy as np
import pytest

from tasks.classification.knn import vote
from tasks.classification.neighbours import nearest
from tasks.features import normalised


def slowly(queries: np.ndarray, gallery: np.ndarray, k: int) -> np.ndarray:
    similarities = queries.astype(np.float64) @ gallery.astype(np.float64).T
    return np.argsort(-np.round(similarities * 2**20), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("rows", [25, 1000, 5001, 40003])
@pytest.mark.parametrize("kind", ["spread", "clustered", "positive"])
def test_exact_whatever_the_data(rows: int, kind: str) -> None:
    generator = np.random.default_rng(rows)
    gallery, queries = generator.normal(size=(rows, 24)), generator.normal(size=(300, 24))
    if kind == "clustered":
        gallery = gallery * 0.05 + np.repeat(generator.normal(size=(1, 24)), rows, 0)
        queries = queries * 0.05 + gallery[0]
    if kind == "positive":
        gallery, queries = np.maximum(gallery, 0) + 0.5, np.maximum(queries, 0) + 0.5
    ours, theirs = normalised(queries), normalised(gallery)
    similarities, found = nearest(ours, theirs, 20)
    exact = np.sort(ours.astype(np.float64) @ theirs.astype(np.float64).T, axis=1)[:, ::-1][:, :20]
    np.testing.assert_allclose(similarities, exact, atol=2e-6)
    # Where rounding decides, float32 and float64 may swap neighbours within a step of 1e-6; nowhere else.
    assert (found == slowly(ours, theirs, 20)).mean() > 0.98


def test_ties_go_to_the_earlier_row_and_repeat() -> None:
    gallery = normalised(np.repeat(np.eye(4), 3000, axis=0))
    similarities, found = nearest(normalised(np.eye(4)), gallery, 5)
    assert found.tolist() == [[3000 * c + i for i in range(5)] for c in range(4)]
    assert (similarities == 1).all()
    assert nearest(normalised(np.zeros((2, 4))), gallery, 3)[1].tolist() == [[0, 1, 2]] * 2


def test_k_beyond_the_gallery_is_refused() -> None:
    with pytest.raises(ValueError, match=r"k must be in 1\.\.4 .* got 5"):
        nearest(normalised(np.eye(4)), normalised(np.eye(4)), 5)


def test_votes_weigh_by_nearness() -> None:
    votes = vote(np.array([[0.9, 0.8, 0.8]], np.float32), np.array([[1, 0, 0]]), 3, 0.1)
    weights = np.array([2 * np.exp(8.0), np.exp(9.0), 0])
    np.testing.assert_allclose(votes[0], weights / weights.sum(), rtol=1e-5)


def test_a_crowded_gallery_where_every_group_is_within_the_fast_passs_error() -> None:
    generator = np.random.default_rng(5)
    direction = generator.normal(size=64)
    gallery = normalised(direction + 1e-4 * generator.normal(size=(3000, 64)))
    queries = normalised(direction + 1e-4 * generator.normal(size=(7, 64)))
    similarities, found = nearest(queries, gallery, 20)
    exact = np.take_along_axis(queries.astype(np.float64) @ gallery.T.astype(np.float64), found, axis=1)
    np.testing.assert_allclose(similarities, exact, atol=2e-6)
    best = np.sort(queries.astype(np.float64) @ gallery.T.astype(np.float64), axis=1)[:, ::-1][:, :20]
    np.testing.assert_allclose(exact, best, atol=2e-6)
