"""data2vec: targets of the teacher in closed form, masked patches only, and a teacher that follows."""

from typing import Any

import pytest
import torch

from backbones.pretraining.method import Progress
from backbones.pretraining.methods.data2vec import Data2Vec
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_encoder, tiny_method


def test_targets_are_the_normed_mean_of_the_last_blocks() -> None:
    method: Any = tiny_method(Data2Vec(averaged=2), "vit")
    images = random_batch(sizes=(32,)).views[0].images
    model = method.teacher.copy.backbone.model
    hidden = model._pos_embed(model.patch_embed(images))
    outputs = []
    for block in model.blocks:
        hidden = block(hidden)
        outputs.append(hidden[:, 1:])
    mean = (outputs[1] + outputs[2]) / 2
    normed = (mean - mean.mean(-1, keepdim=True)) / (mean.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(method._targets(images), normed)


def test_the_last_half_of_the_blocks_is_averaged() -> None:
    method: Any = tiny_method(Data2Vec(), "vit")
    assert list(method.blocks) == [1, 2]
    with pytest.raises(ValueError, match="averaged 4: the encoder has 3 blocks"):
        tiny_method(Data2Vec(averaged=4), "vit")


def test_masked_patches_reach_the_target_and_not_the_prediction() -> None:
    method, batch = tiny_method(Data2Vec(), "vit"), random_batch(images=16, sizes=(32,))
    images = batch.views[0].images.clone()
    images[:, :, 8:16, 16:24] += torch.arange(8.0)
    changed = batch._replace(views=(batch.views[0]._replace(images=images),))
    torch.manual_seed(1)
    before = method.represent(batch)
    torch.manual_seed(1)
    after = method.represent(changed)
    assert before["predicted"].shape == before["target"].shape == (16, 10, 32)  # 0.6 of 16 patches
    assert (before["target"] != after["target"]).flatten(1).any(1).all()
    moved = (before["predicted"] != after["predicted"]).flatten(1).any(1)
    assert 0 < int(moved.sum()) < 16  # those that see the patch


def test_targets_have_no_drop_path() -> None:
    method: Any = tiny_method(Data2Vec(), "vit")
    method.teacher.copy = tiny_encoder("vit", drop_path_rate=0.9)
    method.train()
    images = random_batch(sizes=(32,)).views[0].images
    assert torch.equal(method._targets(images), method._targets(images))


def test_the_loss_in_closed_form() -> None:
    outputs = {"predicted": torch.zeros(1, 1, 3), "target": torch.tensor([[[1.0, -2.0, 5.0]]])}
    loss = tiny_method(Data2Vec(), "vit").loss(outputs, PROGRESS)
    assert float(loss) == pytest.approx((1 / 4 + 4 / 4 + (5 - 1)) / 3)


def test_only_the_student_learns_and_the_teacher_follows() -> None:
    method: Any = tiny_method(Data2Vec(momentum=(0.5, 0.9)), "vit")
    method.loss(method.represent(random_batch(sizes=(32,))), PROGRESS).backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    student, teacher = method.encoder.backbone.model.pos_embed, method.teacher.copy.backbone.model.pos_embed
    before = teacher.clone()
    with torch.no_grad():
        student += 1
    method.after_update(Progress(0, 11, 11))
    torch.testing.assert_close(teacher - before, torch.full_like(teacher, 0.5))
    method.after_update(Progress(10, 11, 11))
    torch.testing.assert_close(teacher - before, torch.full_like(teacher, 0.55))
    assert method.published() is method.encoder.backbone


def test_other_than_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="Data2Vec takes 1 views, and its groups make 2"):
        tiny_method(Data2Vec(views=(ViewGroup(count=2),)), "vit")
