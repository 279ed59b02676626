"""VICReg: its three terms in closed form, against loops and lightly's."""

import pytest
import torch
from torch import Tensor

from backbones.pretraining.losses.vicreg import covariance, invariance, variance
from backbones.pretraining.methods.vicreg import VICReg
from tests.pretraining_fakes import PROGRESS, tiny_method


def random_vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_variance_of_constant_vectors() -> None:
    assert float(variance(torch.ones(8, 4, dtype=torch.float64))) == pytest.approx(1 - 1e-4**0.5, abs=1e-12)
    assert float(variance(100 * random_vectors(64, 4))) == 0


def test_the_covariance_of_uncorrelated_dimensions_is_nothing() -> None:
    diagonal = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    assert float(covariance(diagonal)) == 0
    repeated = diagonal[:, [0, 0]]  # both covariances are the variance, 18 / 3
    assert float(covariance(repeated)) == pytest.approx(2 * 6**2 / 2, abs=1e-12)


def test_terms_against_loops() -> None:
    first, second = random_vectors(2, 7, 3)
    squares = [float(first[image, i] - second[image, i]) ** 2 for image in range(7) for i in range(3)]
    assert float(invariance(first, second)) == pytest.approx(sum(squares) / 21, abs=1e-12)
    covariances = [[_covariance(first[:, i], first[:, j]) for j in range(3)] for i in range(3)]
    lacking = [max(0.0, 1 - (covariances[i][i] + 1e-4) ** 0.5) for i in range(3)]
    assert float(variance(first)) == pytest.approx(sum(lacking) / 3, abs=1e-12)
    shared = [covariances[i][j] ** 2 for i in range(3) for j in range(3) if i != j]
    assert float(covariance(first)) == pytest.approx(sum(shared) / 3, abs=1e-12)


def _covariance(a: Tensor, b: Tensor) -> float:
    return float(((a - a.mean()) * (b - b.mean())).sum()) / (len(a) - 1)


def test_places_are_batches_of_their_own() -> None:
    z = random_vectors(7, 4, 3)
    for term in (variance, covariance):
        expected = sum(float(term(z[:, place])) for place in range(4)) / 4
        assert float(term(z)) == pytest.approx(expected, abs=1e-12)


def test_the_whole_equals_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").VICRegLoss()
    z = 0.5 * random_vectors(16, 2, 8)
    mine = tiny_method(VICReg(projector=(8, 8)), "vit").loss({"z": z}, PROGRESS)
    assert float(mine) == pytest.approx(float(loss(z[:, 0], z[:, 1])), rel=1e-10)


def test_weights_are_those_of_the_terms() -> None:
    z = random_vectors(6, 2, 3)
    first, second = z.unbind(1)
    for name, expected in {
        "invariance": invariance(first, second),
        "variance": (variance(first) + variance(second)) / 2,
        "covariance": covariance(first) + covariance(second),
    }.items():
        weights = {"invariance": 0.0, "variance": 0.0, "covariance": 0.0, name: 3.0}
        loss = tiny_method(VICReg(projector=(8, 8), **weights), "vit").loss({"z": z}, PROGRESS)
        assert float(loss) == pytest.approx(3 * float(expected), rel=1e-12)


def test_a_single_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images"):
        variance(torch.ones(1, 4))
