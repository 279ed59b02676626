"""SimSiam: the stop-gradient, and the predictor's steady rate."""

import pytest
import torch

from backbones.pretraining.losses.negative_cosine import negative_cosine
from backbones.pretraining.methods.simsiam import PRESETS, SimSiam
from backbones.pretraining.pretrainee import Pretrainee
from backbones.training.optimisers import optimiser_of
from backbones.training.parameter_groups import parameter_groups
from backbones.training.recipe import Recipe
from backbones.training.schedule import set_rates
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method

TINY = SimSiam(projector=(32, 32, 16), predictor=8)


def test_no_gradient_goes_into_the_target() -> None:
    method = tiny_method(TINY)
    outputs = method.represent(random_batch())
    assert (outputs["p"].requires_grad, outputs["z"].requires_grad) == (True, False)
    target = outputs["z"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(negative_cosine(outputs["p"], target.flip(1)), target)
    assert gradient.abs().sum() > 0  # it would, so it has to be held


def test_the_loss_is_both_directions_mean() -> None:
    method = tiny_method(TINY, "vit")
    p, z = torch.randn(2, 5, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = -sum(
        float(p[image, mine] @ z[image, 1 - mine] / p[image, mine].norm() / z[image, 1 - mine].norm()) / 10
        for image in range(5)
        for mine in range(2)
    )
    assert float(method.loss({"p": p, "z": z}, PROGRESS)) == pytest.approx(expected, abs=1e-12)


def test_only_the_predictor_keeps_its_rate() -> None:
    recipe = Recipe(epochs=10, optimiser="sgd", learning_rate=0.5, warmup_epochs=1, minimum_learning_rate=0.0)
    optimiser = optimiser_of(parameter_groups(Pretrainee(tiny_method(TINY)), recipe), recipe)
    set_rates(optimiser, recipe, step=95, steps_an_epoch=10)
    rates = {name: group["lr"] for group in optimiser.param_groups for name in group["names"]}
    predictors = {name for name in rates if name.startswith("method.predictor")}
    assert {rates[name] for name in predictors} == {0.5}
    assert all(rates[name] < 0.01 for name in set(rates) - predictors)


def test_weight_decay_acts_on_all() -> None:
    assert all(preset.recipe.decay_vectors for preset in PRESETS["simsiam"].values())
