"""Sinkhorn: rows are exact, columns come nearer to equal, and the result is that of plain scaling."""

from itertools import pairwise

import pytest
import torch

from backbones.pretraining.parts.sinkhorn import sinkhorn


def scores(samples: int = 64, prototypes: int = 8, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(samples, prototypes, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 2 - 1


def error(codes: torch.Tensor) -> float:
    masses = codes.sum(0) * codes.shape[1] / len(codes)
    return float((masses - 1).abs().max())


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_every_sample_has_mass_one(iterations: int) -> None:
    codes = sinkhorn(scores(), 0.05, iterations)
    assert float((codes.sum(1) - 1).abs().max()) < 1e-14
    single = sinkhorn(scores(dtype=torch.float32), 0.05, iterations)
    assert float((single.sum(1) - 1).abs().max()) < 5e-7


def test_prototypes_come_nearer_to_equal_masses_with_every_iteration() -> None:
    errors = [error(sinkhorn(scores(), 0.05, iterations)) for iterations in range(1, 60)]
    assert all(later < earlier for earlier, later in pairwise(errors) if earlier > 1e-12)
    assert errors[2] > 0.01  # three do not balance
    assert errors[-1] < 1e-3


def test_is_what_plain_scaling_makes() -> None:
    plain = (scores() / 0.3).exp()
    for _ in range(4):
        plain /= plain.sum(0, keepdim=True)
        plain /= plain.sum(1, keepdim=True)
    assert torch.allclose(sinkhorn(scores(), 0.3, 4), plain, atol=1e-14)


def test_no_score_overflows() -> None:
    codes = sinkhorn(torch.tensor([[0.0, 50.0], [0.0, 49.0], [1000.0, 0.0]]), 0.05, 3)
    assert codes.isfinite().all()


def test_equals_lightlys() -> None:
    theirs = pytest.importorskip("lightly.loss.swav_loss").sinkhorn
    single = scores(dtype=torch.float32)
    assert torch.allclose(sinkhorn(single, 0.05, 3), theirs(single, iterations=3, epsilon=0.05), atol=1e-5)


def test_has_no_gradient() -> None:
    assert not sinkhorn(scores().requires_grad_(), 0.05, 3).requires_grad
