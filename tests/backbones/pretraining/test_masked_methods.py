"""What holds of every method of masked images: it learns, trains all it says it does, and resumes as it was."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from backbones.places import Places
from backbones.pretraining.catalogue import build_method, presets
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.method import Batch, Method, MethodSettings, View
from backbones.pretraining.methods.data2vec import Data2Vec
from backbones.pretraining.methods.gmml import GMML
from backbones.pretraining.methods.ijepa import IJEPA
from backbones.pretraining.methods.mae import MAE
from backbones.pretraining.methods.simmim import SimMIM
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import random_batch, tiny_method

pytestmark = pytest.mark.slow

METHODS: dict[str, MethodSettings] = {
    "mae": MAE(decoder_width=16, decoder_depth=1, decoder_heads=2, standardised=False),
    "simmim": SimMIM(unit=8),
    "gmml": GMML(step=4),
    "ijepa": IJEPA(targets=2, predictor_width=16, predictor_depth=1, predictor_heads=2),
    "data2vec": Data2Vec(),
}


def ramps(views: int) -> Batch:
    """Images whose hidden parts follow from what is seen: each channel rises in a line."""
    batch = random_batch(images=32, sizes=(32,) * views)
    line = torch.linspace(-1, 1, 32)
    made = []
    for view in batch.views:
        slopes = view.images[:, :, :1, :3, None]
        images = slopes[:, :, :, 0] + slopes[:, :, :, 1] * line[:, None] + slopes[:, :, :, 2] * line
        made.append(View(images, *view[1:]))
    return Batch(tuple(made), batch.rows, batch.progress)


def steps(method: Method, batch: Batch, count: int, first: int = 0) -> list[float]:
    """Losses of Adam's steps, chance seeded by the step as the loop does it."""
    optimiser = torch.optim.Adam([each for each in method.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for step in range(first, first + count):
        torch.manual_seed(step)
        loss = method.loss(method.represent(batch), batch.progress)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            method.after_update(batch.progress)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("name", METHODS)
def test_steps_lower_the_loss(name: str) -> None:
    losses = steps(tiny_method(METHODS[name], "vit"), ramps(len_of(name)), 25)
    assert sum(losses[-5:]) / 5 < 0.87 * losses[0]


@pytest.mark.parametrize("name", METHODS)
def test_weights_brought_back_go_on_as_if_never_stopped(name: str) -> None:
    """Adam starts anew in both: what is compared is the method's own state."""
    batch = ramps(len_of(name))
    method, other = tiny_method(METHODS[name], "vit"), tiny_method(METHODS[name], "vit", seed=1)
    steps(method, batch, 2)
    other.load_state_dict(method.state_dict())
    assert steps(method, batch, 2, first=2) == steps(other, batch, 2, first=2)


@pytest.mark.parametrize("name", METHODS)
def test_all_that_is_trained_takes_part(name: str) -> None:
    """Distributed training refuses trained parameters without a gradient; ``layers`` has to name all of them."""
    pretrainee = Pretrainee(tiny_method(METHODS[name], "vit"))
    pretrainee(random_batch(sizes=(32,) * len_of(name))).backward()
    layered = [parameter for _, layer in pretrainee.layers() for parameter in layer if parameter.requires_grad]
    trained = [parameter for parameter in pretrainee.parameters() if parameter.requires_grad]
    assert {id(each) for each in layered} == {id(each) for each in trained}
    assert all(each.grad is not None for each in trained)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_in_half_precision(name: str) -> None:
    method = tiny_method(METHODS[name], "vit")
    pretrainee = Pretrainee(method)
    batch = random_batch(sizes=(32,) * len_of(name))
    torch.manual_seed(0)
    exact = float(pretrainee(batch).detach())
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = pretrainee(batch)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_the_small_recipe_fits_its_architecture(name: str) -> None:
    preset = presets(name)["cifar"]
    thin: dict[str, Any] = {**preset.kwargs, "embed_dim": 24, "num_heads": 2, "depth": 2}
    encoder = encoder_over(fresh(preset.architecture, thin, preset.size, 0, Places()))
    method = build_method(preset.settings, encoder, 64)
    loss = Pretrainee(method)(random_batch(images=2, sizes=(32,) * len_of(name)))
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", METHODS)
def test_the_large_recipe_fits_its_architecture(name: str) -> None:
    preset = presets(name)["imagenet"]
    thin: dict[str, Any] = {**preset.kwargs, "embed_dim": 24, "num_heads": 2, "depth": 6}
    encoder = encoder_over(fresh(preset.architecture, thin, preset.size, 0, Places()))
    assert isinstance(build_method(preset.settings, encoder, 64), Method)


@pytest.mark.parametrize("name", METHODS)
def test_views_of_another_size_are_refused(name: str) -> None:
    settings = replace(METHODS[name], views=(ViewGroup(count=len_of(name), size=24),))
    with pytest.raises(ValueError, match="takes views of the encoder's size, 32 x 32 pixels, not of 24"):
        tiny_method(settings, "vit")


def len_of(name: str) -> int:
    """How many views the method takes."""
    return sum(group.count for group in METHODS[name].views)
