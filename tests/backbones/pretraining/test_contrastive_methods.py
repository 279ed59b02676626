"""Contrastive methods whole: they learn true pairs, not random ones, and go on after a restart as if there was none."""

import math

import pytest
import torch

from backbones.pretraining.method import Batch, Method, MethodSettings, Progress
from backbones.pretraining.methods.dcl import DCL
from backbones.pretraining.methods.dclw import DCLW
from backbones.pretraining.methods.moco_v3 import MoCoV3
from backbones.pretraining.methods.nnclr import NNCLR
from tests.pretraining_fakes import random_batch, tiny_method, updated

WIDTHS = (32, 16)
METHODS: dict[str, tuple[MethodSettings, float]] = {
    "dcl": (DCL(projector=WIDTHS), math.log(14)),
    "dclw": (DCLW(projector=WIDTHS), math.log(14)),
    "nnclr": (NNCLR(projector=WIDTHS, predictor=WIDTHS, queue=24), math.log(8)),
    "nnclr_decoupled": (NNCLR(projector=WIDTHS, predictor=WIDTHS, queue=24, decoupled=True), math.log(7)),
    "moco_v3": (MoCoV3(projector=WIDTHS, predictor=WIDTHS, temperature=0.2, momentum=0.9), 4 * 0.2 * math.log(8)),
}
"""With the loss of eight images that are all at right angles to each other, views too: what knowing nothing costs."""


def progress(step: int) -> Progress:
    return Progress(step, total=40, steps_an_epoch=8)


def loss_of_pairs(method: Method, batch: Batch) -> float:
    return float(method.loss(method.represent(batch), batch.progress).detach())


def trained(settings: MethodSettings, kind: str, shuffled: bool) -> float:
    """The loss of eight true pairs after steps on them, or on pairs drawn anew for each step."""
    method, generator = tiny_method(settings, kind), torch.Generator().manual_seed(2)
    for step in range(12):
        first, second = random_batch().views
        if shuffled:
            second = second._replace(images=second.images[torch.randperm(8, generator=generator)])
        updated(method, Batch((first, second), torch.arange(8), progress(step)))
    return loss_of_pairs(method, random_batch())


@pytest.mark.parametrize("kind", ["cnn", "vit"])
@pytest.mark.parametrize("name", METHODS)
def test_true_pairs_are_learned(name: str, kind: str) -> None:
    settings, ignorance = METHODS[name]
    assert trained(settings, kind, shuffled=False) < ignorance - 0.8


@pytest.mark.parametrize("name", METHODS)
def test_random_pairs_are_not(name: str) -> None:
    settings, ignorance = METHODS[name]
    assert trained(settings, "vit", shuffled=True) > ignorance


@pytest.mark.parametrize("name", METHODS)
def test_a_restart_changes_no_bit(name: str) -> None:
    method = tiny_method(METHODS[name][0])
    for step in range(5):  # the queue of 24 wraps around
        updated(method, random_batch(seed=step, progress=progress(step)))
    other = tiny_method(METHODS[name][0], seed=7)
    other.load_state_dict(method.state_dict())
    following = random_batch(seed=5, progress=progress(5))
    assert updated(method, following) == updated(other, following)
    for key, value in method.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize("name", METHODS)
def test_a_step_that_was_undone_leaves_nothing(name: str) -> None:
    """Buffers of forward passes are the loop's to restore; what after_update moves must not have moved yet."""
    method, twin = tiny_method(METHODS[name][0]).eval(), tiny_method(METHODS[name][0]).eval()
    loss_of_pairs(method, random_batch(seed=8))
    both = [updated(each, random_batch(seed=9)) for each in (method, twin)]
    assert both[0] == both[1]
    for key, value in method.state_dict().items():
        assert torch.equal(value, twin.state_dict()[key]), key
