"""SimMIM: masked pixels do not reach the encoder, and only they are restored."""

import pytest
import torch

from backbones.pretraining.method import Batch, View
from backbones.pretraining.methods.simmim import SimMIM
from backbones.pretraining.parts.patches import patchify
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method


def test_what_is_restored_are_masked_units() -> None:
    batch = random_batch(sizes=(32,))
    outputs = tiny_method(SimMIM(unit=16, masked=0.5), "vit").represent(batch)
    assert outputs["predicted"].shape == outputs["target"].shape == (8, 8, 3 * 64)  # 2 of 4 units of 4 patches
    patches = patchify(batch.views[0].images, 8)
    found = (patches[:, :, None] == outputs["target"][:, None]).all(-1).any(-1).view(8, 2, 2, 2, 2)
    assert found.sum(dim=(1, 2, 3, 4)).tolist() == [8] * 8
    assert torch.equal(found, found[:, :, :1, :, :1].expand_as(found))


def test_masked_pixels_never_reach_the_encoder() -> None:
    method, batch = tiny_method(SimMIM(unit=8), "vit").eval(), random_batch(images=16, sizes=(32,))
    images = batch.views[0].images.clone()
    images[:, :, 8:16, 16:24] += torch.arange(8.0)
    torch.manual_seed(1)
    before = method.represent(batch)
    torch.manual_seed(1)
    after = method.represent(Batch((View(images, *batch.views[0][1:]),), batch.rows, batch.progress))
    answers_moved = (before["predicted"] != after["predicted"]).flatten(1).any(1)
    target_moved = (before["target"] != after["target"]).flatten(1).any(1)
    assert torch.equal(answers_moved, ~target_moved)
    assert 0 < int(answers_moved.sum()) < 16


def test_the_loss_in_closed_form() -> None:
    outputs = {"predicted": torch.zeros(1, 2, 3), "target": torch.tensor([[[1.0, -2, 3], [0, 0, -6]]])}
    assert float(tiny_method(SimMIM(unit=8), "vit").loss(outputs, PROGRESS)) == pytest.approx(2.0)


def test_units_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="unit 12: squares of 12 pixels do not tile images of 32 x 32 in"):
        tiny_method(SimMIM(unit=12), "vit")
    with pytest.raises(ValueError, match="unit 4: squares of 4 pixels"):
        tiny_method(SimMIM(unit=4), "vit")
    with pytest.raises(ValueError, match="SimMIM takes 1 views, and its groups make 2"):
        tiny_method(SimMIM(unit=8, views=(ViewGroup(count=2),)), "vit")
