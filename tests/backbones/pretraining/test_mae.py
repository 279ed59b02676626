"""MAE: what the encoder sees, what the loss counts, and a loss in closed form."""

import pytest
import torch

from backbones.pretraining.method import Batch, View
from backbones.pretraining.methods.mae import MAE
from backbones.pretraining.parts.patches import patchify
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method

SMALL = MAE(decoder_width=16, decoder_depth=2, decoder_heads=2)


def changed(batch: Batch, patch: int, by: float) -> Batch:
    """The patch of every image with other pixels; 4 patches of 8 pixels to a row."""
    images = batch.views[0].images.clone()
    row, column = divmod(patch, 4)
    images[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += by * torch.arange(8.0)
    return Batch((View(images, *batch.views[0][1:]),), batch.rows, batch.progress)


def test_a_quarter_is_seen_and_the_rest_restored() -> None:
    torch.manual_seed(0)
    outputs = tiny_method(SMALL, "vit").represent(random_batch(sizes=(32,)))
    assert outputs["predicted"].shape == outputs["target"].shape == (8, 12, 3 * 64)
    assert outputs["target"].mean(dim=-1).abs().max() < 1e-5
    assert outputs["target"].std(dim=-1).sub(1).abs().max() < 1e-4


def test_masked_pixels_never_reach_the_encoder() -> None:
    """A change of a patch moves the answers of just those images that see it, the targets of just the others."""
    method, batch = tiny_method(SMALL, "vit").eval(), random_batch(images=16, sizes=(32,))
    torch.manual_seed(1)
    before = method.represent(batch)
    torch.manual_seed(1)
    after = method.represent(changed(batch, patch=6, by=1.0))
    answers_moved = (before["predicted"] != after["predicted"]).flatten(1).any(1)
    target_moved = (before["target"] != after["target"]).flatten(1).any(1)
    assert torch.equal(answers_moved, ~target_moved)
    assert 0 < int(answers_moved.sum()) < 16


def test_plain_pixels_as_targets() -> None:
    batch = random_batch(sizes=(32,))
    method = tiny_method(MAE(standardised=False, decoder_width=16, decoder_depth=1, decoder_heads=2), "vit")
    target, patches = method.represent(batch)["target"], patchify(batch.views[0].images, 8)
    same = (target[:, :, None] == patches[:, None]).all(-1)
    assert torch.equal(same.sum(dim=(1, 2)), torch.full((8,), 12))


def test_the_loss_in_closed_form() -> None:
    method = tiny_method(SMALL, "vit")
    predicted = torch.zeros(2, 3, 4, requires_grad=True)
    target = torch.ones(2, 3, 4)
    target[0, 0] = 3
    loss = method.loss({"predicted": predicted, "target": target}, PROGRESS)
    assert float(loss.detach()) == pytest.approx((4 * 9 + 20 * 1) / 24)


def test_other_than_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="MAE takes 1 views, and its groups make 2"):
        tiny_method(MAE(views=(ViewGroup(count=2),)), "vit")
    with pytest.raises(ValueError, match="MAE needs the tokens of a plain vision transformer of timm"):
        tiny_method(MAE())
