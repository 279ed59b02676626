"""SimCLR: the loss in closed form and against lightly's, and a step of the whole method."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from backbones.pretraining.losses.contrastive import info_nce
from backbones.pretraining.methods.simclr import SimCLR
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import random_batch, tiny_method, updated


def test_two_images_in_closed_form() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    assert float(info_nce(eye, eye, 0.5)) == pytest.approx(math.log(1 + 2 * math.exp(-2)), abs=1e-12)
    assert float(info_nce(eye, eye, 0.1)) == pytest.approx(9.08e-5, abs=1e-7)


def test_against_a_loop() -> None:
    views = normalize(torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1)
    total = 0.0
    for own in range(2):
        for anchor in range(5):
            like = {
                (view, image): math.exp(float(views[own, anchor] @ views[view, image]) / 0.3)
                for view in range(2)
                for image in range(5)
                if (view, image) != (own, anchor)
            }
            total -= math.log(like[1 - own, anchor] / sum(like.values()))
    assert float(info_nce(views[0], views[1], 0.3)) == pytest.approx(total / 10, abs=1e-12)


def test_equals_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2)
    first, second = normalize(torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert float(info_nce(first, second, 0.2)) == pytest.approx(float(loss(first, second)), abs=1e-5)


def test_the_order_of_images_does_not_matter() -> None:
    first, second = normalize(torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(2)), dim=-1)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    assert float(info_nce(first[shuffled], second[shuffled], 0.1)) == pytest.approx(
        float(info_nce(first, second, 0.1)), abs=1e-6
    )


def test_a_single_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images"):
        info_nce(torch.ones(1, 4), torch.ones(1, 4), 0.1)


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_steps_lower_the_loss(kind: str) -> None:
    method = tiny_method(SimCLR(projector=(32, 16)), kind)
    losses = [updated(method, random_batch()) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1


def test_other_than_two_views_are_refused() -> None:
    with pytest.raises(ValueError, match="SimCLR takes 2 views, and its groups make 3"):
        tiny_method(SimCLR(views=(ViewGroup(count=3),)))
