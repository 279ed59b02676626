"""DINOv2's objective: iBOT's with heads, a balance and KoLeo of its own."""

import pytest
import torch

from backbones.pretraining.catalogue import presets
from backbones.pretraining.methods.dinov2 import DINOv2
from backbones.pretraining.parts.koleo import koleo
from backbones.pretraining.parts.masked_views import drawn_masks, seen
from backbones.pretraining.parts.sinkhorn import sinkhorn
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import in_double, random_batch, tiny_method

SMALL = {"views": (ViewGroup(count=2),), "outputs": 12, "hidden": 16, "bottleneck": 8}


def test_the_whole_method_by_hand() -> None:
    """Both views of all images, and all masked patches, are balanced at once."""
    method, batch = in_double(tiny_method(DINOv2(**SMALL), "vit"), random_batch(4))
    torch.manual_seed(3)
    masks = drawn_masks(8, (4, 4), 0.5, (0.1, 0.5)).view(4, 2, 16)
    token = method.get_parameter("mask_token")
    mine, theirs = seen(method.encoder, batch.views, masks, token), seen(method.encoder, batch.views, masks)
    cold = DINOv2().teacher_temperature_at(batch.progress)
    head, patch_head = method.get_submodule("heads.0"), method.get_submodule("heads.1")
    target = sinkhorn(head(theirs.vectors.flatten(0, 1)), cold, 3).view(4, 2, 12)
    answer = (head(mine.vectors.flatten(0, 1)) / 0.1).log_softmax(1).view(4, 2, 12)
    expected = -(target * answer.flip(1)).sum(2).mean()
    each = -(sinkhorn(patch_head(theirs.patches), cold, 3) * (patch_head(mine.patches) / 0.1).log_softmax(1)).sum(1)
    weight = (1 / masks.sum(2).double().clamp(min=1)).unsqueeze(2).expand_as(masks)[masks]
    expected = expected + (each * weight).sum() / 8
    expected = expected + 0.1 * (koleo(mine.vectors[:, 0]) + koleo(mine.vectors[:, 1]))
    torch.manual_seed(3)
    loss = method.loss(method.represent(batch), batch.progress)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-9)


def test_heads_of_vectors_and_patches_are_not_one() -> None:
    method, batch = tiny_method(DINOv2(**SMALL), "vit"), random_batch(6)
    torch.manual_seed(3)
    method.represent(batch)["of_patches"].sum().backward()
    assert method.get_parameter("heads.1.last.weight").grad is not None
    assert method.get_parameter("heads.0.last.weight").grad is None


def test_with_a_centre_it_has_two() -> None:
    method = tiny_method(DINOv2(**SMALL, centring="centre"), "vit")
    assert [name for name, _ in method.named_buffers() if name.endswith("mean")] == ["targets.0.mean", "targets.1.mean"]


@pytest.mark.parametrize(
    ("changes", "whole"),
    [
        ({}, True),
        ({"koleo_weight": 0.0}, True),
        ({"centring": "centre"}, True),
        ({"koleo_weight": 0.0, "centring": "centre"}, False),
    ],
)
def test_images_are_compared_by_koleo_and_by_the_balance(changes: dict[str, object], whole: bool) -> None:
    assert tiny_method(DINOv2(**SMALL, **changes), "vit").whole_batch is whole


@pytest.mark.parametrize("preset", sorted(presets("dinov2")))
def test_presets_take_the_views_they_make(preset: str) -> None:
    found = presets("dinov2")[preset]
    assert sum(group.count for group in found.settings.views) == (10 if preset == "imagenet" else 2)
    assert "not run here" in found.source
