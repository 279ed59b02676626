"""Barlow Twins: the loss in closed form, against a loop and lightly's, and the recipe's two learning rates."""

import pytest
import torch
from torch import Tensor, nn

from backbones.pretraining.losses.barlow_twins import barlow_twins
from backbones.pretraining.method import Progress
from backbones.pretraining.methods.barlow_twins import PRESETS, BarlowTwins
from backbones.training.optimisers import optimiser_of
from backbones.training.recipe import Recipe
from tests.pretraining_fakes import tiny_method

WHITE = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
"""Two uncorrelated dimensions of variance 1/2 (the biased one)."""


def random_views(seed: int = 0) -> Tensor:
    return torch.randn(2, 16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_white_views_that_are_alike_cost_nothing() -> None:
    assert float(barlow_twins(WHITE, WHITE, 1.0)) == pytest.approx(2 * (1e-5 / (0.5 + 1e-5)) ** 2, rel=1e-6)
    assert float(barlow_twins(100 * WHITE, 100 * WHITE, 1.0)) < 1e-12


def test_opposite_and_repeated_dimensions_in_closed_form() -> None:
    z = 1e4 * WHITE
    assert float(barlow_twins(z, -z, 1.0)) == pytest.approx(2 * 2**2, abs=1e-6)
    repeated = z[:, [0, 0]]
    assert float(barlow_twins(repeated, repeated, 0.25)) == pytest.approx(0.25 * 2, abs=1e-6)


def test_a_constant_dimension_costs_one_and_has_a_gradient_that_is_finite() -> None:
    z = torch.stack([WHITE[:, 0], torch.full((4,), 3.0, dtype=torch.float64)], dim=1).requires_grad_()
    loss = barlow_twins(z, z, 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1, abs=1e-6)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_scale_and_shift_do_not_matter() -> None:
    first, second = random_views()
    expected = float(barlow_twins(first, second, 0.005))
    assert float(barlow_twins(7 * first + 3, 0.5 * second - 1, 0.005)) == pytest.approx(expected, rel=1e-4)


def test_against_a_loop() -> None:
    first, second = random_views()
    expected = 0.0
    for i in range(5):
        for j in range(5):
            a, b = first[:, i] - first[:, i].mean(), second[:, j] - second[:, j].mean()
            deviations = ((a @ a / 16 + 1e-5) * (b @ b / 16 + 1e-5)).sqrt()
            correlation = float(a @ b / 16 / deviations)
            expected += (1 - correlation) ** 2 if i == j else 0.3 * correlation**2
    assert float(barlow_twins(first, second, 0.3)) == pytest.approx(expected, rel=1e-10)


def test_equals_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").BarlowTwinsLoss(lambda_param=0.0051)
    first, second = random_views().float()
    assert float(barlow_twins(first, second, 0.0051)) == pytest.approx(float(loss(first, second)), rel=1e-5)


def test_the_scale_multiplies_the_loss() -> None:
    z = random_views().transpose(0, 1)
    losses = [
        float(tiny_method(BarlowTwins(projector=(8, 8), scale=scale), "vit").loss({"z": z}, Progress(0, 1, 1)))
        for scale in (1.0, 0.1)
    ]
    assert losses[1] == pytest.approx(0.1 * losses[0])


def test_the_imagenet_recipe_makes_the_authors_steps() -> None:
    """A matrix moves as at 0.2, a vector as at 0.0048 (times batch / 256): LARS on the scaled loss does both."""
    preset = PRESETS["barlow_twins"]["imagenet"]
    assert isinstance(preset.settings, BarlowTwins)
    scaled = _moved(preset.recipe, preset.settings.scale, preset.recipe.weight_decay)
    matrix, _ = _moved(preset.recipe, 1.0, 1e-6)
    slow = Recipe(optimiser="lars", learning_rate=0.0048 * 2048 / 256)
    _, vector = _moved(slow, 1.0, 1e-6)
    torch.testing.assert_close(scaled[0], matrix, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(scaled[1], vector, rtol=1e-5, atol=1e-9)


def _moved(recipe: Recipe, scale: float, decay: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((4, 3), (4,))]
    before = [weight.detach().clone() for weight in weights]
    groups = [
        {"params": [weight], "lr": recipe.learning_rate, "weight_decay": 0.0 if plain else decay, "plain": plain}
        for weight, plain in zip(weights, (False, True), strict=True)
    ]
    optimiser = optimiser_of(groups, recipe)
    for _ in range(3):
        for weight in weights:
            weight.grad = scale * torch.randn(weight.shape, generator=generator)
        optimiser.step()
    return [weight.detach() - start for weight, start in zip(weights, before, strict=True)]
