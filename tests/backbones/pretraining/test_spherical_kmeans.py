"""Spherical k-means: recovers separated blobs, is the same every time, and bears what real sets have."""

from itertools import pairwise

import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch.nn.functional import normalize

from backbones.pretraining.parts import spherical_kmeans as module
from backbones.pretraining.parts.spherical_kmeans import nearest, spherical_kmeans


def blobs(clusters: int, each: int, spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(clusters, 16, generator=generator), dim=1)
    labels = torch.arange(clusters).repeat_interleave(each)
    points = centres[labels] + spread * torch.randn(len(labels), 16, generator=generator)
    return normalize(points, dim=1), labels


@pytest.mark.parametrize("seed", range(10))
def test_recovers_separated_blobs(seed: int) -> None:
    points, labels = blobs(12, 30, 0.02, seed)
    centroids = spherical_kmeans(points, 12, 10, seed)
    assert adjusted_rand_score(labels, nearest(points, centroids)) == 1
    assert torch.allclose(centroids.norm(dim=1), torch.ones(12))


def test_blobs_that_are_none_are_not_recovered() -> None:
    points, labels = blobs(12, 30, 3.0)
    assert adjusted_rand_score(labels, nearest(points, spherical_kmeans(points, 12, 10, 0))) < 0.5


def test_rounds_raise_the_cosines() -> None:
    points, _ = blobs(12, 30, 0.5)
    found = [spherical_kmeans(points, 8, rounds, 0) for rounds in range(6)]
    sums = [float((points @ centroids.T).amax(1).sum()) for centroids in found]
    assert all(later >= earlier - 1e-4 for earlier, later in pairwise(sums))
    assert sums[-1] > sums[0] + 1


def test_one_round_is_what_a_loop_makes() -> None:
    points, _ = blobs(5, 20, 0.5)
    before, after = (spherical_kmeans(points, 5, rounds, 3) for rounds in (0, 1))
    labels = [int(torch.stack([point @ each for each in before]).argmax()) for point in points]
    for number in range(5):
        mine = torch.stack([point for point, label in zip(points, labels, strict=True) if label == number])
        assert torch.allclose(after[number], normalize(mine.mean(0), dim=0), atol=1e-6)


def test_is_the_same_every_time_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = blobs(6, 50, 0.5)
    first = spherical_kmeans(points, 9, 5, 1)
    torch.manual_seed(99)
    assert torch.equal(first, spherical_kmeans(points, 9, 5, 1))
    assert not torch.allclose(first, spherical_kmeans(points, 9, 5, 2))
    monkeypatch.setattr(module, "CHUNK_SCORES", 100)
    assert torch.allclose(first, spherical_kmeans(points, 9, 5, 1), atol=1e-6)


def test_points_that_are_all_alike_keep_their_centroids() -> None:
    points = normalize(torch.ones(20, 4), dim=1)
    assert torch.allclose(spherical_kmeans(points, 5, 3, 0), points[:5])


def test_more_clusters_than_points_are_refused() -> None:
    with pytest.raises(ValueError, match="5 clusters cannot be made of 4 points"):
        spherical_kmeans(torch.eye(4), 5, 3, 0)
