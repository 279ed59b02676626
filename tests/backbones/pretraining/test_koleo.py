"""KoLeo: in closed form, by a loop, against lightly's, and its gradient drives vectors apart."""

import math

import pytest
import torch

from backbones.pretraining.parts.koleo import koleo


def test_antipodes_in_closed_form() -> None:
    two = torch.tensor([[3.0, 0.0], [-0.5, 0.0]], dtype=torch.float64)
    assert float(koleo(two)) == pytest.approx(-math.log(2), abs=1e-8)


def test_a_square_in_closed_form() -> None:
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
    assert float(koleo(square)) == pytest.approx(-math.log(math.sqrt(2)), abs=1e-8)


def test_against_a_loop() -> None:
    vectors = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unit = [[float(value) / float(vector.norm()) for value in vector] for vector in vectors]
    nearest = [min(math.dist(one, other) for other in unit if other is not one) for one in unit]
    assert float(koleo(vectors)) == pytest.approx(-sum(map(math.log, nearest)) / 9, abs=1e-7)


def test_equals_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").KoLeoLoss()
    vectors = torch.randn(16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert float(koleo(vectors)) == pytest.approx(float(loss(vectors)), abs=1e-6)


def test_a_step_along_its_gradient_spreads() -> None:
    generator = torch.Generator().manual_seed(2)
    vectors = 1 + 0.1 * torch.randn(12, 6, dtype=torch.float64, generator=generator)
    vectors.requires_grad_()
    first = koleo(vectors)
    (gradient,) = torch.autograd.grad(first, vectors)
    assert float(koleo(vectors.detach() - 0.01 * gradient)) < float(first.detach()) - 0.01


def test_equal_vectors_are_finite() -> None:
    vectors = torch.ones(3, 4, requires_grad=True)
    loss = koleo(vectors)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-math.log(1e-8), rel=1e-3)
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()


def test_a_single_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images"):
        koleo(torch.ones(1, 4))
