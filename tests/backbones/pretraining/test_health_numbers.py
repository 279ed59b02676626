"""The numbers of a training's health, in closed form."""

import math

import pytest
import torch
from torch import Tensor

from backbones.pretraining.health.alignment import alignment
from backbones.pretraining.health.deviation import deviation
from backbones.pretraining.health.lidar import DELTA, lidar
from backbones.pretraining.health.rank_me import rank_me
from backbones.pretraining.health.uniformity import uniformity


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def orthogonal(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Columns of length one at right angles."""
    return torch.linalg.qr(normal(rows, columns, seed=seed))[0]


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rank_me_counts_directions(rank: int) -> None:
    assert rank_me(7.5 * orthogonal(40, rank) @ orthogonal(8, rank, seed=1).T) == pytest.approx(rank, abs=1e-9)


def test_rank_me_of_unequal_directions_by_hand() -> None:
    values = torch.tensor([3.0, 1.0], dtype=torch.float64)
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert rank_me(orthogonal(9, 2) @ values.diag() @ orthogonal(5, 2, seed=1).T) == pytest.approx(expected, abs=1e-9)


def test_rank_me_is_not_centred() -> None:
    """Constants are one direction; what is far from the origin looks like it."""
    assert rank_me(torch.full((6, 4), 2.5)) == pytest.approx(1, abs=1e-6)
    assert rank_me(normal(200, 4) + 1000) < 1.1 < 3.5 < rank_me(normal(200, 4))
    assert rank_me(torch.zeros(6, 4)) == 0


def test_rank_me_of_embeddings_in_half_precision() -> None:
    assert rank_me(torch.eye(4, dtype=torch.bfloat16)) == pytest.approx(4, abs=1e-9)


def spread(images: int, dim: int, within: float) -> Tensor:
    """Images at equal distances from each other, 2 dim views each: along every axis once up and once down."""
    steps = within * torch.cat([torch.eye(dim), -torch.eye(dim)]).double()
    return torch.eye(images, dim).double()[:, None] + steps


def test_lidar_counts_the_directions_that_tell_images_apart() -> None:
    """Five points at equal distances span four dimensions, in all of which they differ alike."""
    assert lidar(spread(5, 7, within=0.1)) == pytest.approx(4, abs=1e-9)


def test_lidar_weighs_a_direction_by_how_little_views_move_in_it() -> None:
    """Two directions between images, the second with four times the standard deviation within."""
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).double()
    steps = torch.tensor([[0.1, 0], [-0.1, 0], [0, 0.4], [0, -0.4]]).double()
    values = [1 / (0.005 + DELTA), 1 / (0.08 + DELTA)]
    shares = [value / sum(values) for value in values]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert lidar(corners[:, None] + steps) == pytest.approx(expected, abs=1e-9)


def test_lidar_against_the_plain_way() -> None:
    """Scatters summed one by one, the inverse root by its definition."""
    embeddings = normal(12, 3, 5) + 2 * normal(12, 1, 5, seed=1)
    means = embeddings.mean(1)
    between, within = torch.zeros(5, 5).double(), DELTA * torch.eye(5).double()
    for image in range(12):
        apart = means[image] - means.mean(0)
        between += torch.outer(apart, apart) / 12
        for view in range(3):
            apart = embeddings[image, view] - means[image]
            within += torch.outer(apart, apart) / 36
    values, vectors = torch.linalg.eigh(within)
    root = vectors @ values.rsqrt().diag() @ vectors.T
    shares = torch.linalg.eigvalsh(root @ between @ root)
    shares = shares / shares.sum()
    assert lidar(embeddings) == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), abs=1e-9)


def test_lidar_of_collapsed_images_is_nothing() -> None:
    assert lidar(torch.ones(5, 2, 3)) == 0
    with pytest.raises(ValueError, match="at least 2 are needed, got 1"):
        lidar(torch.ones(5, 1, 3))


def test_alignment_of_equal_opposite_and_other_views() -> None:
    one = normal(6, 1, 4)
    assert alignment(torch.cat([one, 3 * one], dim=1)) == pytest.approx(0, abs=1e-12)
    assert alignment(torch.cat([one, -one], dim=1)) == pytest.approx(4, abs=1e-12)
    assert alignment(torch.cat([one, -one, one], dim=1)) == pytest.approx(8 / 3, abs=1e-12)
    with pytest.raises(ValueError, match="at least 2 are needed, got 1"):
        alignment(one)


def test_uniformity_of_opposite_points() -> None:
    assert uniformity(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])) == pytest.approx(-8, abs=1e-6)
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert uniformity(square) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6), abs=1e-6)
    assert uniformity(torch.ones(3, 2)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2 are needed, got 1"):
        uniformity(torch.ones(1, 2))


def test_uniformity_of_a_sphere() -> None:
    """In three dimensions a cosine is even in -1..1: the mean of exp(4 c - 4) is (1 - exp(-8)) / 8."""
    assert uniformity(normal(3000, 3)) == pytest.approx(math.log((1 - math.exp(-8)) / 8), abs=0.01)


def test_deviation_of_gaussians_and_constants() -> None:
    assert deviation(normal(4000, 64)) == pytest.approx(1, abs=0.01)
    assert deviation(torch.ones(5, 3)) == pytest.approx(0, abs=1e-9)


def test_deviation_by_hand_is_of_unit_vectors() -> None:
    """(1, 0) and (0, 1) after scaling: a standard deviation of a half in both dimensions."""
    assert deviation(torch.tensor([[5.0, 0.0], [0.0, 0.2]])) == pytest.approx(0.5 * math.sqrt(2), abs=1e-9)
