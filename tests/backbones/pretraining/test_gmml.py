"""GMML: what is corrupted and how much, groups far larger than chance makes, and a loss of corrupted pixels alone."""

from typing import Any

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from backbones.pretraining.methods.gmml import GMML, corrupt, half_of_blocks, restoration_loss
from backbones.pretraining.parts.groups import random_groups
from backbones.pretraining.parts.random_masks import random_unit_masks
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method

BLOCK = 9 * 9 / 32**2
"""The largest rectangle's share of an image of 32 pixels."""


def images_of(count: int = 64) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def group_size(covered: Tensor) -> float:
    """Mean pixels of a connected group, over images."""
    sizes = [float(each.sum()) / ndimage.label(each.numpy())[1] for each in covered]
    return sum(sizes) / len(sizes)


@pytest.mark.parametrize("step", [1, 4])
def test_groups_cover_just_what_is_asked(step: int) -> None:
    shares = torch.linspace(0.3, 0.75, 200)
    covered = random_groups(shares, (32, 32), step, 0.3, torch.Generator().manual_seed(0))
    found = covered.flatten(1).float().mean(dim=1)
    assert (found >= shares).all()
    assert (found < shares + (BLOCK if step == 1 else 8 * 8 / 32**2)).all()
    squares = covered.view(200, 32 // step, step, 32 // step, step)
    assert torch.equal(squares, squares[:, :, :1, :, :1].expand_as(squares))


def test_groups_are_far_larger_than_chances() -> None:
    """698 pixels a group where as many patches of 4 pixels at random make 100, in images of 64 pixels."""
    generator = torch.Generator().manual_seed(1)
    groups = random_groups(torch.full((60,), 0.5), (64, 64), 1, 0.3, generator)
    patches = random_unit_masks(60, (64, 64), 4, float(groups.float().mean()), generator).view(60, 64, 64)
    assert group_size(groups) > 4 * group_size(patches)


def test_groups_of_images_that_are_not_whole_steps() -> None:
    with pytest.raises(ValueError, match="images of 30 x 32 pixels are not whole steps of 4"):
        random_groups(torch.ones(1), (30, 32), 4, 0.3, torch.Generator())


def test_half_of_the_images_are_exchanged_and_the_rest_filled() -> None:
    torch.manual_seed(0)
    images = images_of(400)
    corrupted, covered = corrupt(images, GMML(fill="zeros"))
    shares = covered.flatten(1).float().mean(dim=1)
    filled = (corrupted == 0).all(dim=1).flatten(1).any(dim=1)
    assert 160 <= int(filled.sum()) <= 240
    assert ((shares[filled] >= 0.5) & (shares[filled] < 0.75 + BLOCK)).all()
    assert shares[filled].max() > 0.7
    assert ((shares[~filled] >= 0.3) & (shares[~filled] < 0.3 + BLOCK)).all()


def test_clean_pixels_stay_and_exchanged_ones_are_the_donors() -> None:
    torch.manual_seed(0)
    images = images_of(16)
    corrupted, covered = corrupt(images, GMML(exchanged=1.0))
    assert torch.equal(corrupted[~covered[:, None].expand_as(images)], images[~covered[:, None].expand_as(images)])
    for row in range(16):
        fits = [torch.equal(corrupted[row][:, covered[row]], donor[:, covered[row]]) for donor in images]
        assert sum(fits) == 1
        assert not fits[row]


@pytest.mark.parametrize("fill", ["noise", "zeros", "elsewhere"])
def test_what_stands_where_nothing_is_exchanged(fill: Any) -> None:
    torch.manual_seed(5)
    images = images_of(4)
    corrupted, covered = corrupt(images, GMML(exchanged=0.0, fill=fill))
    there = corrupted.permute(0, 2, 3, 1)[covered]
    if fill == "zeros":
        assert not there.any()
    elif fill == "noise":
        assert not (there == images.permute(0, 2, 3, 1)[covered]).any()
        assert float(there.mean().abs()) < 0.05
        assert abs(float(there.std()) - 1) < 0.05
    else:
        own = [corrupted[row][:, covered[row]].T for row in range(4)]
        assert all(torch.isin(own[row], images[row]).all() for row in range(4))
        assert not (own[0] == images[0][:, covered[0]].T).any()


def test_what_is_moved_keeps_its_neighbours() -> None:
    torch.manual_seed(0)
    image = torch.arange(32.0 * 32).view(1, 1, 32, 32).expand(1, 3, -1, -1)
    corrupted, covered = corrupt(image, GMML(exchanged=0.0, fill="elsewhere"))
    shift = (corrupted[0, 0] - image[0, 0])[covered[0]] % (32 * 32)
    assert len(shift.unique()) <= 2  # the same way for all, but for those that came in at the side


def test_an_image_alone_has_no_donor() -> None:
    torch.manual_seed(0)
    image = images_of(1)
    corrupted, covered = corrupt(image, GMML(exchanged=1.0))
    assert float(covered.float().mean()) >= 0.5
    assert not (corrupted == image)[covered[:, None].expand_as(image)].any()


def test_the_loss_in_closed_form() -> None:
    """Two views of one image: errors 1 on 2 of 4 pixels and 3 on 1 of 4; the views count alike."""
    restored = torch.zeros(1, 2, 3, 2, 2, dtype=torch.float64)
    images = torch.ones_like(restored)
    images[:, 1] = 3
    covered = torch.tensor([[[[True, True], [False, False]], [[True, False], [False, False]]]])
    assert float(restoration_loss(restored, images, covered)) == pytest.approx(2.0, abs=1e-12)


def test_clean_pixels_have_no_gradient() -> None:
    method = tiny_method(GMML(), "vit")
    outputs = dict(method.represent(random_batch()))
    restored = outputs["restored"].detach().requires_grad_()
    method.loss({**outputs, "restored": restored}, PROGRESS).backward()
    assert restored.grad is not None
    covered = outputs["covered"][:, :, None].expand_as(restored)
    assert not restored.grad[~covered].any()
    assert (restored.grad[covered] != 0).all()


def test_the_views_are_corrupted_apart_and_restored_whole() -> None:
    batch = random_batch()
    outputs = tiny_method(GMML(), "vit").represent(batch)
    assert outputs["restored"].shape == (8, 2, 3, 32, 32)
    assert torch.equal(outputs["images"][:, 1], batch.views[1].images)
    assert not torch.equal(outputs["covered"][:, 0], outputs["covered"][:, 1])


def test_a_pixel_reaches_the_whole_restored_image() -> None:
    """No mask token and no patch left out: what is corrupted is encoded too."""
    method: Any = tiny_method(GMML(), "vit")
    images = images_of(1).requires_grad_()
    method._restored(images)[0, :, :8, :8].sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


def test_blocks_of_other_depths() -> None:
    assert half_of_blocks(24) == (11, 15, 19, 23)
    assert half_of_blocks(1) == (0,)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="GMML takes 2 views, and its groups make 1"):
        tiny_method(GMML(views=(ViewGroup(),)), "vit")
    with pytest.raises(ValueError, match="step 3: the image's sides, \\(32, 32\\), are not multiples of it"):
        tiny_method(GMML(step=3), "vit")
