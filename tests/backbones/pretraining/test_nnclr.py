"""NNCLR: the neighbours, what enters the queue, where gradients go, and the loss against a loop."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from backbones.pretraining.methods.nnclr import NNCLR
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method, updated

SETTINGS = NNCLR(projector=(16, 6), predictor=(16, 6), queue=20, temperature=0.3)


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_loss_against_a_loop(decoupled: bool) -> None:
    method = tiny_method(NNCLR(projector=(16, 6), predictor=(16, 6), queue=20, temperature=0.3, decoupled=decoupled))
    z, p = torch.randn(2, 5, 2, 6, generator=torch.Generator().manual_seed(0))
    queue, total = method.get_parameter("queue.vectors").double(), 0.0
    unit_z, unit_p = normalize(z.double(), dim=-1), normalize(p.double(), dim=-1)
    for own in range(2):
        for image in range(5):
            near = max(queue, key=lambda entry: float(entry @ unit_z[image, own]))
            like = [math.exp(float(near @ unit_p[other, 1 - own]) / 0.3) for other in range(5)]
            rest = sum(like) - (like[image] if decoupled else 0)
            total -= math.log(like[image] / rest)
    assert float(method.loss({"z": z, "p": p}, PROGRESS)) == pytest.approx(total / 10, abs=1e-5)


def test_the_first_views_enter_the_queue_after_the_update_and_not_before() -> None:
    method = tiny_method(SETTINGS)
    before = method.get_parameter("queue.vectors").clone()
    outputs = method.represent(random_batch())
    method.loss(outputs, PROGRESS)
    assert torch.equal(method.get_parameter("queue.vectors"), before)
    method.after_update(PROGRESS)
    entered = normalize(outputs["z"][:, 0], dim=-1)
    assert torch.equal(method.get_parameter("queue.vectors")[:8], entered)
    assert torch.equal(method.get_parameter("queue.vectors")[8:], before[8:])
    assert not outputs["z"].requires_grad


def test_gradients_reach_the_encoder_through_the_predictor_alone() -> None:
    method = tiny_method(SETTINGS)
    outputs = dict(method.represent(random_batch()))
    outputs["p"] = outputs["p"].detach()
    assert not method.loss(outputs, PROGRESS).requires_grad
    method.loss(method.represent(random_batch()), PROGRESS).backward()
    trained = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert {name.partition(".")[0] for name in trained} == {"encoder", "projector", "predictor"}


def test_a_queue_smaller_than_the_batch_works() -> None:
    method = tiny_method(NNCLR(projector=(16, 6), predictor=(16, 6), queue=3))
    assert math.isfinite(updated(method, random_batch()))
    assert int(method.get_buffer("queue.added")) == 8


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="NNCLR takes 2 views, and its groups make 3"):
        tiny_method(NNCLR(views=(ViewGroup(count=3),)))
    with pytest.raises(ValueError, match="must end with the same width"):
        tiny_method(NNCLR(predictor=(4096, 128)))
