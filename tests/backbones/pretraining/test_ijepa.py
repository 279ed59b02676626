"""I-JEPA: contexts without targets, no place seen less for being last, and a teacher that is predicted and follows."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from backbones.pretraining.method import Progress
from backbones.pretraining.methods.ijepa import IJEPA
from backbones.pretraining.parts.predicted_blocks import PredictedBlocks, predicted_blocks
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method

SMALL = IJEPA(targets=2, predictor_width=16, predictor_depth=1, predictor_heads=2)


def drawn(images: int, seed: int, grid: tuple[int, int] = (14, 14)) -> PredictedBlocks:
    generator = torch.Generator().manual_seed(seed)
    return predicted_blocks(grid, images, 4, (0.15, 0.2), (0.75, 1.5), (0.85, 1.0), generator)


@pytest.mark.parametrize("grid", [(14, 14), (8, 8), (6, 12)])
def test_contexts_and_targets_share_no_patch(grid: tuple[int, int]) -> None:
    for seed in range(30):
        context, targets = drawn(16, seed, grid)
        for seen, blocks in zip(context.tolist(), targets.flatten(1).tolist(), strict=True):
            assert not set(seen) & set(blocks)
            assert seen == sorted(set(seen))
        assert context.shape[1] >= max(1, round(0.05 * grid[0] * grid[1]))


def test_targets_are_blocks_of_the_sizes_asked_for() -> None:
    sizes = set()
    for seed in range(100):
        _, targets = drawn(4, seed)
        rows, columns = targets // 14, targets % 14
        height = rows.amax(-1) - rows.amin(-1) + 1
        width = columns.amax(-1) - columns.amin(-1) + 1
        assert torch.equal(height * width, torch.full((4, 4), targets.shape[-1]))
        assert int(height.min()) == int(height.max())
        sizes.add((int(height[0, 0]), int(width[0, 0])))
        assert 0.12 * 196 <= targets.shape[-1] <= 0.23 * 196  # sides are whole patches
        assert 0.6 <= int(height[0, 0]) / int(width[0, 0]) <= 1.8
    assert len(sizes) > 5


def test_no_patch_is_left_out_for_being_the_last() -> None:
    """Turned by half a circle the masks are as likely: over 6,400 images the upper half is seen as often as the lower.
    Cutting off the last patches of contexts larger than the smallest, it was 2.4 times as often.
    """
    seen = torch.zeros(196)
    images = 0
    for seed in range(100):
        context, _ = drawn(64, seed)
        seen += torch.bincount(context.flatten(), minlength=196)
        images += 64
    upper, lower = seen[:98].sum(), seen[98:].sum()
    assert float(upper / lower) == pytest.approx(1, abs=0.03)


def test_targets_that_leave_no_context_are_refused() -> None:
    with pytest.raises(ValueError, match="1 targets of 4 x 4 patches leave no context of 1 on a grid of 4 x 4"):
        tiny_method(IJEPA(targets=1, scale=(1.0, 1.0), aspect=(1.0, 1.0)), "vit")


def test_what_is_predicted_and_of_whom() -> None:
    method: Any = tiny_method(SMALL, "vit")
    outputs = method.represent(random_batch(sizes=(32,)))
    assert outputs["predicted"].shape == outputs["target"].shape
    assert outputs["target"].shape[:2] == (8, 2)
    assert outputs["target"].mean(-1).abs().max() < 1e-5
    assert not outputs["target"].requires_grad
    method.loss(outputs, PROGRESS).backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_targets_are_the_whole_images_features_at_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = tiny_method(SMALL, "vit")
    batch = random_batch(sizes=(32,))
    blocks = predicted_blocks((4, 4), 8, 2, (0.15, 0.2), (0.75, 1.5), (0.85, 1.0), torch.default_generator)
    monkeypatch.setattr(method, "_drawn", lambda images: blocks)
    target = method.represent(batch)["target"]
    features = method.teacher.copy.tokens(batch.views[0].images).patches
    normed = (features - features.mean(-1, keepdim=True)) / (
        features.var(-1, keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    expected = torch.stack([row[places] for row, places in zip(normed, blocks.targets, strict=True)])
    torch.testing.assert_close(target, expected)


def test_only_the_context_reaches_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = tiny_method(SMALL, "vit")
    images = random_batch(sizes=(32,)).views[0].images.requires_grad_()
    batch = random_batch(sizes=(32,))
    batch = batch._replace(views=(batch.views[0]._replace(images=images),))
    blocks = method._drawn(8)
    monkeypatch.setattr(method, "_drawn", lambda _: blocks)
    method.represent(batch)["predicted"].square().sum().backward()
    assert images.grad is not None
    moved = images.grad.unflatten(2, (4, 8)).unflatten(4, (4, 8)).abs().sum(dim=(1, 3, 5)).flatten(1) > 0
    expected = torch.zeros(8, 16).scatter(1, blocks.context, 1.0) > 0
    assert torch.equal(moved, expected)


def test_the_loss_in_closed_form() -> None:
    outputs = {"predicted": torch.zeros(1, 1, 1, 2), "target": torch.tensor([[[[0.5, -3.0]]]])}
    assert float(tiny_method(SMALL, "vit").loss(outputs, PROGRESS)) == pytest.approx((0.125 + 2.5) / 2)


def test_the_teacher_follows_and_is_published() -> None:
    """Of 41 steps at a constant student: m in a line from 0.5 to 1, so theta = theta_s + (theta_0 - theta_s) prod m."""
    method: Any = tiny_method(replace(SMALL, momentum=(0.5, 1.0)), "vit")
    before = method.teacher.copy.backbone.model.pos_embed.clone()
    with torch.no_grad():
        method.encoder.backbone.model.pos_embed += 1
    shares = [step / 40 for step in range(41)]
    for step in range(41):
        method.after_update(Progress(step, 41, 41))
    left = math.prod(0.5 + 0.5 * share for share in shares)
    moved = method.teacher.copy.backbone.model.pos_embed - before
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - left))
    assert method.published() is method.teacher.copy.backbone


def test_other_than_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="IJEPA takes 1 views, and its groups make 2"):
        tiny_method(IJEPA(views=(ViewGroup(count=2),)), "vit")
