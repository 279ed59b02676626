"""DINO's and iBOT's cross-entropies: by loops, by lightly's, and what they do not depend on."""

import pytest
import torch
from torch import Tensor

from backbones.pretraining.losses.cross_entropy import between_views, of_masked_patches


def _logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _masks(seed: int = 0) -> Tensor:
    """Of three images, two views of 6 patches; one view without any."""
    masks = torch.rand(3, 2, 6, generator=torch.Generator().manual_seed(seed)) < 0.5
    masks[1, 0] = False
    return masks


def _loop_cross_entropy(teacher: Tensor, student: Tensor) -> float:
    return -sum(float(p) * float(log) for p, log in zip(teacher, student, strict=True))


def test_views_against_a_loop() -> None:
    teacher, student = _logits(3, 2, 7).softmax(-1), _logits(3, 5, 7, seed=1).log_softmax(-1)
    for image, found in enumerate(between_views(teacher, student)):
        others = [(of, by) for of in range(2) for by in range(5) if of != by]
        pairs = [_loop_cross_entropy(teacher[image, of], student[image, by]) for of, by in others]
        assert len(pairs) == 8
        assert float(found) == pytest.approx(sum(pairs) / 8, abs=1e-12)


def test_views_equal_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").DINOLoss(output_dim=16, teacher_temp=0.0625).double()
    loss.center = _logits(16, seed=3).view(1, 1, 16)
    centre = loss.center.clone()
    teacher, student = _logits(4, 2, 16), _logits(4, 6, 16, seed=1)
    theirs = loss(list(teacher.unbind(1)), list(student.unbind(1)))
    mine = between_views(((teacher - centre) / 0.0625).softmax(-1), (student / 0.1).log_softmax(-1))
    assert float(mine.mean()) == pytest.approx(float(theirs), abs=1e-9)


def test_of_patches_against_a_loop() -> None:
    masks = _masks()
    rows = int(masks.sum())
    teacher, student = _logits(rows, 7).softmax(-1), _logits(rows, 7, seed=1).log_softmax(-1)
    found, row = of_masked_patches(teacher, student, masks), 0
    for image in range(3):
        views = []
        for view in range(2):
            count = int(masks[image, view].sum())
            each = [_loop_cross_entropy(teacher[at], student[at]) for at in range(row, row + count)]
            views.append(sum(each) / count if count else 0.0)
            row += count
        assert float(found[image]) == pytest.approx(sum(views) / 2, abs=1e-12)
    assert row == rows


def test_of_patches_equal_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").IBOTPatchLoss(output_dim=16, teacher_temp=0.0625).double()
    loss.center.center = _logits(16, seed=3).view(1, 16)
    centre, masks = loss.center.value.clone(), _masks()
    teacher, student = _logits(int(masks.sum()), 16), _logits(int(masks.sum()), 16, seed=1)
    theirs = loss(teacher, student, masks.view(6, 2, 3))
    mine = of_masked_patches(((teacher - centre) / 0.0625).softmax(-1), (student / 0.1).log_softmax(-1), masks)
    assert float(mine.mean()) == pytest.approx(float(theirs), rel=1e-7)  # its weights are of single precision


def test_no_masked_patch_at_all_is_no_loss() -> None:
    nothing = torch.zeros(0, 7, requires_grad=True)
    found = of_masked_patches(nothing.detach(), nothing, torch.zeros(3, 2, 6, dtype=torch.bool))
    found.mean().backward()
    assert found.tolist() == [0, 0, 0]
    assert nothing.grad is not None
