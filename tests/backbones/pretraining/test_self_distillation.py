"""What DINO, iBOT and DINOv2 have in common: schedules, teachers, centres, rests, restarts, health, and refusals."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.pretraining.method import Batch, Method, Progress
from backbones.pretraining.methods.dino import DINO
from backbones.pretraining.methods.dinov2 import DINOv2
from backbones.pretraining.methods.ibot import IBOT
from backbones.pretraining.parts.self_distillation import SelfDistillation
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import random_batch, tiny_method, updated

pytestmark = pytest.mark.slow

VIEWS = (ViewGroup(count=2), ViewGroup(count=2, size=16))
SIZES = (32, 32, 16, 16)
SMALL: dict[str, Any] = {"views": VIEWS, "outputs": 24, "hidden": 16, "bottleneck": 8}
CASES = [(DINO, "cnn"), (DINO, "vit"), (IBOT, "vit"), (DINOv2, "vit")]
every = pytest.mark.parametrize(("settings", "kind"), CASES, ids=["dino cnn", "dino vit", "ibot", "dinov2"])


def _steps(method: Method, batch: Batch, count: int) -> list[float]:
    """The same draws (masks) in every step."""
    losses = []
    for _ in range(count):
        torch.manual_seed(0)
        losses.append(updated(method, batch))
    return losses


def _state(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


@every
def test_steps_lower_the_loss(settings: type[SelfDistillation], kind: str) -> None:
    """AdamW's: behind a bottleneck of small weights, plain gradients are of any size. The centre stays, so that the
    loss goes to one end.
    """
    method, batch = tiny_method(settings(**SMALL, centre_momentum=1.0), kind), random_batch(sizes=SIZES)
    optimiser = torch.optim.AdamW([each for each in method.parameters() if each.requires_grad], lr=3e-3)
    losses = []
    for _ in range(10):
        torch.manual_seed(0)
        losses.append(method.loss(method.represent(batch), batch.progress))
        losses[-1].backward()
        optimiser.step()
        optimiser.zero_grad()
        method.after_update(batch.progress)
    assert float(losses[-1].detach()) < 0.8 * float(losses[0].detach())


def test_the_teachers_temperature_rises_to_its_end_and_stays() -> None:
    settings = DINO(teacher_temperature=(0.04, 0.08), temperature_epochs=2)
    found = [settings.teacher_temperature_at(Progress(step, 40, 8)) for step in (0, 8, 16, 39)]
    assert found == pytest.approx([0.04, 0.06, 0.08, 0.08])
    assert DINO(temperature_epochs=0).teacher_temperature_at(Progress(0, 40, 8)) == 0.07


def test_momentum_begins_as_set_and_ends_at_one() -> None:
    settings = DINO(momentum=0.9)
    assert [settings.momentum_at(Progress(step, 41, 8)) for step in (0, 20, 40)] == pytest.approx([0.9, 0.95, 1.0])


@every
def test_a_teacher_follows_in_closed_form(settings: type[SelfDistillation], kind: str) -> None:
    method = tiny_method(settings(**SMALL, momentum=0.9), kind)
    before = _state(method)
    for parameter in method.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    for _ in range(3):
        method.after_update(Progress(0, 40, 8))
    after, pairs = _state(method), 0
    for name in before:
        student = name.replace("teacher.copy.", "encoder.").replace("teacher_head.copy.", "head.")
        student = student.replace("teacher_heads.copy.", "heads.")
        if name != student and method.state_dict()[name].is_floating_point() and "running" not in name:
            assert torch.allclose(after[name], 0.9**3 * before[name] + (1 - 0.9**3) * after[student], atol=1e-6)
            pairs += 1
    assert pairs > 20
    method.after_update(Progress(39, 40, 8))
    assert all(torch.equal(after[name], value) for name, value in _state(method).items())


@every
def test_no_gradient_goes_into_the_teacher(settings: type[SelfDistillation], kind: str) -> None:
    method, batch = tiny_method(settings(**SMALL), kind), random_batch(sizes=SIZES)
    method.loss(method.represent(batch), batch.progress).backward()
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith("teacher") for name in trained)
    assert {name for name, parameter in method.named_parameters() if parameter.grad is not None} == trained


@every
def test_last_layers_rest_in_the_first_epoch(settings: type[SelfDistillation], kind: str) -> None:
    method = tiny_method(settings(**SMALL), kind)
    lasts = [name for name in _state(method) if name.startswith("head") and name.endswith("last.weight")]
    assert len(lasts) == (2 if settings is DINOv2 else 1)
    first = _state(method)
    for step in range(7, 9):  # the last step of the first epoch, and the first one of the second
        updated(method, random_batch(sizes=SIZES, progress=Progress(step, 40, 8)))
        moved = {name for name, value in _state(method).items() if not torch.equal(value, first[name])}
        assert (set(lasts) & moved) == (set() if step == 7 else set(lasts))
        assert any("layers" in name for name in moved)


@pytest.mark.parametrize("settings", [DINO, IBOT])
def test_micro_batches_make_the_step_of_the_whole_batch(settings: type[SelfDistillation]) -> None:
    """Of iBOT with all patches masked, so that splitting draws no other masks."""
    masked = {"mask_probability": 1.0, "mask_ratio": (1.0, 1.0)} if settings is IBOT else {}
    whole, split = (tiny_method(settings(**SMALL, **masked), "vit") for _ in range(2))
    batch = random_batch(8, SIZES)
    whole.loss(whole.represent(batch), batch.progress).backward()
    for part in (slice(0, 6), slice(6, 8)):
        views = tuple(type(view)(*(field[part] for field in view)) for view in batch.views)
        share = Batch(views, batch.rows[part], batch.progress)
        (split.loss(split.represent(share), batch.progress) * len(share.rows) / 8).backward()
    for one, other in zip(whole.parameters(), split.parameters(), strict=True):
        if one.grad is not None:
            assert other.grad is not None
            assert torch.allclose(one.grad, other.grad, atol=1e-4, rtol=1e-3)
    for method in (whole, split):
        method.after_update(batch.progress)
    means = [name for name in whole.state_dict() if name.endswith("mean") and "running" not in name]
    assert len(means) == (2 if settings is IBOT else 1)
    for name in means:
        assert whole.state_dict()[name].abs().max() > 1e-4
        assert torch.allclose(whole.state_dict()[name], split.state_dict()[name], atol=1e-6)


@every
def test_a_restart_makes_the_same_step_to_the_bit(settings: type[SelfDistillation], kind: str) -> None:
    method, batch = tiny_method(settings(**SMALL), kind), random_batch(sizes=SIZES)
    _steps(method, batch, 2)
    restarted = tiny_method(settings(**SMALL), kind, seed=1)
    restarted.load_state_dict(_state(method))
    assert _steps(method, batch, 1) == _steps(restarted, batch, 1)
    assert all(torch.equal(value, restarted.state_dict()[name]) for name, value in method.state_dict().items())


@every
def test_health_says_the_same_names_and_moves_nothing(settings: type[SelfDistillation], kind: str) -> None:
    method, batch = tiny_method(settings(**SMALL), kind).eval(), random_batch(sizes=SIZES)
    before = _state(method)
    found = method.health(batch)
    assert set(found) == {"teacher_entropy", "teacher_information", "teacher_student_kl"}
    assert 0 < found["teacher_entropy"] <= math.log(24) + 1e-5
    assert -1e-5 < found["teacher_information"] < math.log(24)
    assert found["teacher_student_kl"] >= -1e-5
    method.after_update(Progress(39, 40, 8))
    assert all(torch.equal(before[name], value) for name, value in _state(method).items())


@every
def test_the_teachers_trunk_is_published(settings: type[SelfDistillation], kind: str) -> None:
    method = tiny_method(settings(**SMALL), kind)
    _steps(method, random_batch(sizes=SIZES), 2)
    images = random_batch().views[0].images
    method.eval()
    teacher, student = method.published().embed(images), method.encoder(images)
    assert torch.equal(teacher, method.get_submodule("teacher")(images))
    assert not torch.allclose(teacher, student, atol=1e-4)


def test_the_teacher_has_no_drop_path() -> None:
    from backbones.pretraining.catalogue import build_method
    from tests.pretraining_fakes import tiny_encoder

    method = build_method(DINO(**SMALL), tiny_encoder("vit", drop_path_rate=0.5), 64).train()
    images = random_batch().views[0].images
    one, two = (method.get_submodule("teacher")(images) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(method.encoder(images), method.encoder(images))


@every
def test_views_that_do_not_fit_are_refused(settings: type[SelfDistillation], kind: str) -> None:
    with pytest.raises(ValueError, match="takes 2 global views and then local ones, and its groups make 1"):
        tiny_method(settings(views=(ViewGroup(),)), kind)
    with pytest.raises(ValueError, match=r"first two views are the global ones and of one size, not \[32, 16\]"):
        tiny_method(settings(views=(ViewGroup(), ViewGroup(size=16))), kind)


@pytest.mark.parametrize("settings", [IBOT, DINOv2])
def test_a_convolutional_network_has_no_tokens(settings: type[SelfDistillation]) -> None:
    with pytest.raises(ValueError, match=r"needs the tokens of a plain vision transformer.*can train it: .*dino"):
        tiny_method(settings(**SMALL), "cnn")
