"""MoCo v3: the loss in closed form, the teacher's way from end to end, and the patch embedding that stays."""

import math
from dataclasses import replace

import pytest
import torch

from backbones.pretraining.method import Method, Progress
from backbones.pretraining.methods.moco_v3 import MoCoV3
from backbones.pretraining.parts.teacher import Teacher
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_encoder, tiny_method, updated

SETTINGS = MoCoV3(projector=(16, 8), predictor=(16, 8), temperature=0.2)


def teacher(method: Method) -> list[torch.Tensor]:
    return [value.clone() for name, value in method.named_parameters() if name.startswith("teacher.")]


def student(method: Method) -> list[torch.Tensor]:
    return [value for name, value in method.named_parameters() if name.startswith(("encoder.", "projector."))]


def test_two_images_in_closed_form() -> None:
    eye = torch.eye(2)
    both = torch.stack([eye, eye], dim=1) * 3  # of any length
    expected = 2 * 2 * 0.2 * math.log1p(math.exp(-1 / 0.2))
    assert float(tiny_method(SETTINGS).loss({"queries": both, "keys": both}, PROGRESS)) == pytest.approx(
        expected, abs=1e-6
    )


def test_each_views_queries_meet_the_others_keys() -> None:
    method, drawn = tiny_method(SETTINGS), torch.randn(2, 6, 2, 8, generator=torch.Generator().manual_seed(0))
    queries, keys = torch.nn.functional.normalize(drawn.double(), dim=-1)
    labels, expected = torch.arange(6), 0.0
    for own in range(2):
        logits = queries[:, own] @ keys[:, 1 - own].T / 0.2
        expected += 2 * 0.2 * float(torch.nn.functional.cross_entropy(logits, labels))
    found = method.loss({"queries": drawn[0], "keys": drawn[1]}, PROGRESS)
    assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("step", "momentum", "kept"), [(0, 0.0, 0.0), (0, 0.9, 0.9), (39, 0.0, 1.0), (39, 0.9, 1.0)])
def test_the_teacher_begins_with_its_momentum_and_ends_still(step: int, momentum: float, kept: float) -> None:
    method = tiny_method(replace(SETTINGS, momentum=momentum))
    before = teacher(method)
    updated(method, random_batch(progress=Progress(step, total=40, steps_an_epoch=8)))
    for old, new, theirs in zip(before, teacher(method), student(method), strict=True):
        assert torch.allclose(new, kept * old + (1 - kept) * theirs, atol=1e-6)
    assert any(not torch.equal(old, theirs) for old, theirs in zip(before, student(method), strict=True))


def test_a_teacher_of_a_student_at_rest_in_closed_form() -> None:
    layer = torch.nn.Linear(3, 2).double()
    follower, first = Teacher(layer), layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.normal_()
    for _ in range(7):
        follower.follow(layer, 0.8)
    share = 0.8**7
    assert torch.allclose(follower.copy.weight, share * first + (1 - share) * layer.weight, atol=1e-14)


def test_keys_have_no_gradient_and_the_teacher_is_not_trained() -> None:
    method = tiny_method(SETTINGS)
    outputs = method.represent(random_batch())
    assert not outputs["keys"].requires_grad
    method.loss(outputs, PROGRESS).backward()
    trained = {name.partition(".")[0] for name, value in method.named_parameters() if value.grad is not None}
    assert trained == {"encoder", "projector", "predictor"}


def test_the_patch_embedding_of_a_transformer_stays() -> None:
    method = tiny_method(SETTINGS, "vit")
    patches = {name: value for name, value in method.encoder.named_parameters() if ".patch_embed." in name}
    before = {name: value.clone() for name, value in patches.items()}
    updated(method, random_batch())
    assert patches
    assert all(torch.equal(value, patches[name]) for name, value in before.items())
    assert not any(value.requires_grad for value in patches.values())


def test_it_moves_where_it_may_and_a_cnn_is_trained_whole() -> None:
    method = tiny_method(replace(SETTINGS, freeze_patches=False), "vit")
    assert all(value.requires_grad for name, value in method.encoder.named_parameters() if ".patch_embed." in name)
    whole, alone = tiny_method(SETTINGS).encoder, tiny_encoder()
    assert [each.requires_grad for each in whole.parameters()] == [each.requires_grad for each in alone.parameters()]


def test_names_are_kept_once() -> None:
    """safetensors refuses a tensor under two names."""
    state = tiny_method(SETTINGS).state_dict()
    assert len({value.data_ptr() for value in state.values() if value.numel()}) == len(state)
