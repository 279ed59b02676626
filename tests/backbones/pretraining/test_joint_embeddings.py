"""What holds for BYOL, SimSiam, Barlow Twins, VICReg, VICRegL and LeJEPA alike."""

import dataclasses

import pytest
import torch

from backbones.places import Places
from backbones.pretraining.catalogue import build_method, presets, settings_class
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.method import Method, MethodSettings, Outputs
from backbones.pretraining.methods.barlow_twins import BarlowTwins
from backbones.pretraining.methods.byol import BYOL
from backbones.pretraining.methods.lejepa import LeJEPA
from backbones.pretraining.methods.simsiam import SimSiam
from backbones.pretraining.methods.vicreg import VICReg
from backbones.pretraining.methods.vicregl import VICRegL
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_encoder, tiny_method, updated

pytestmark = pytest.mark.slow

TINY: dict[str, MethodSettings] = {
    "byol": BYOL(projector=(32, 16), predictor=32),
    "simsiam": SimSiam(projector=(32, 32, 16), predictor=8),
    "barlow_twins": BarlowTwins(projector=(32, 32, 16), scale=0.1),
    "vicreg": VICReg(projector=(32, 32, 16)),
    "vicregl": VICRegL(projector=(32, 32, 16), map_projector=(16, 16, 16), matches=1),
    "lejepa": LeJEPA(views=(ViewGroup(count=2),), projector=(32, 32, 16), slices=64),
}
RATES = {"vicreg": 0.01, "vicregl": 0.01}
TWO_VIEWS = ["byol", "simsiam", "barlow_twins", "vicreg"]


def rows_of(outputs: Outputs, rows: slice) -> dict[str, torch.Tensor]:
    return {name: value[rows] for name, value in outputs.items()}


def same_state(first: Method, second: Method) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("kind", ["cnn", "vit"])
@pytest.mark.parametrize("name", TINY)
def test_steps_lower_the_loss(name: str, kind: str) -> None:
    method = tiny_method(TINY[name], kind)
    losses = [updated(method, random_batch(), RATES.get(name, 0.1)) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1 * abs(losses[0])


@pytest.mark.parametrize("name", TINY)
def test_the_next_step_of_a_restored_state_is_the_same(name: str) -> None:
    method, other = tiny_method(TINY[name], "cnn"), tiny_method(TINY[name], "cnn", seed=1)
    for seed in range(2):
        updated(method, random_batch(seed=seed), 0.01)
    other.load_state_dict(method.state_dict())
    assert updated(method, random_batch(seed=2), 0.01) == updated(other, random_batch(seed=2), 0.01)
    assert same_state(method, other)


@pytest.mark.parametrize("name", TINY)
def test_whole_batch_is_said_exactly_where_images_meet_in_the_loss(name: str) -> None:
    method = tiny_method(TINY[name], "vit").eval()
    with torch.no_grad():
        outputs = method.represent(random_batch())
        whole = float(method.loss(outputs, PROGRESS))
        halves = [float(method.loss(rows_of(outputs, rows), PROGRESS)) for rows in (slice(0, 4), slice(4, 8))]
    assert method.whole_batch is (sum(halves) / 2 != pytest.approx(whole, rel=1e-5))


@pytest.mark.parametrize("name", TINY)
def test_every_trained_parameter_is_in_the_loss(name: str) -> None:
    """Else devices would wait for a gradient that never comes."""
    method = tiny_method(TINY[name], "cnn")
    Pretrainee(method)(random_batch()).backward()
    trained = [key for key, value in method.named_parameters() if value.requires_grad]
    without = [key for key in trained if method.get_parameter(key).grad is None]
    assert trained
    assert not without


@pytest.mark.parametrize("name", TWO_VIEWS)
def test_other_than_two_views_are_refused(name: str) -> None:
    three = dataclasses.replace(TINY[name], views=(ViewGroup(count=3),))
    with pytest.raises(ValueError, match="takes 2 views, and its groups make 3"):
        tiny_method(three)


@pytest.mark.parametrize("name", TINY)
def test_presets_are_of_the_method_and_say_that_they_were_not_run(name: str) -> None:
    found = presets(name)
    assert set(found) == {"cifar", "imagenet"}
    for preset in found.values():
        assert isinstance(preset.settings, settings_class(name))
        assert preset.source.endswith(("not run here", "not run here at this length"))


@pytest.mark.parametrize("name", TINY)
def test_a_preset_builds_over_its_architecture(name: str) -> None:
    preset = presets(name)["cifar"]
    backbone = fresh(preset.architecture, preset.kwargs, preset.size, 0, Places())
    method = build_method(preset.settings, encoder_over(backbone), 64).train()
    assert method.encoder.size == (32, 32)
    views = sum(group.count for group in preset.settings.views)
    loss = Pretrainee(method)(random_batch(2, (32,) * views))
    assert torch.isfinite(loss)


def test_method_needs_are_checked() -> None:
    encoder = tiny_encoder()
    encoder.map_dim = None
    with pytest.raises(ValueError, match="VICRegL needs a backbone with dense features"):
        build_method(TINY["vicregl"], encoder, 64)
