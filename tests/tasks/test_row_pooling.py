"""RoIAlign by rows against torchvision's operator, values and gradients, and against a region done by hand."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

from tasks.detection.rcnn.pooling import RegionPooling
from tasks.detection.rcnn.row_pooling import pool_rows


def _boxes(count: int, height: int, width: int) -> Tensor:
    """Also of no extent, outside on every side, larger than all, and on the very edges."""
    corners = torch.rand(count, 2) * torch.tensor([width, height]) * 1.4 - torch.tensor([0.2 * width, 0.2 * height])
    sides = torch.rand(count, 2) * torch.tensor([width, height])
    odd = torch.tensor(
        [[3, 3, 3, 3], [-9, -9, -5, -5], [-1, -1, 0, 0], [-4, -4, width + 4, height + 4], [0, 0, width, height],
         [width - 1, height - 1, width, height], [width, height, width + 9, height + 9]]
    )  # fmt: skip
    return torch.cat([torch.cat([corners, corners + sides], 1), odd.float()])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("side", [7, 14])
def test_values_and_gradients_are_the_operators(side: int, channels_last: bool) -> None:
    torch.manual_seed(side)
    features = torch.randn(3, 5, 11, 17)
    if channels_last:
        features = features.contiguous(memory_format=torch.channels_last)
    boxes = _boxes(200, 11, 17)
    images = torch.arange(len(boxes)) % 3
    one, other = features.clone().requires_grad_(), features.clone().requires_grad_()
    ours = pool_rows(one, images, boxes, side)
    theirs = roi_align(other, torch.cat([images[:, None].float(), boxes], 1), side, 1.0, 2, aligned=False)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(ours)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_a_ramp_is_read_where_the_points_are() -> None:
    """Of a map whose value is its column, a bin is the mean of its points' columns."""
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    found = pool_rows(ramp, torch.tensor([0]), torch.tensor([[2.0, 4.0, 16.0, 18.0]]), 7)
    torch.testing.assert_close(found[0, 0, 3], 2 + 14 * (torch.arange(7) + 0.5) / 7)


def test_levels_and_images_keep_their_places_as_in_torchvision() -> None:
    torch.manual_seed(0)
    levels = [torch.randn(2, 4, 256 // stride, 256 // stride) for stride in (4, 8, 16, 32)]
    boxes = [_boxes(60, 256, 256), _boxes(30, 256, 256)]
    pooling = RegionPooling([4.0, 8.0, 16.0, 32.0], 7)
    torchvisions = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    named = {str(place): each for place, each in enumerate(levels)}
    torch.testing.assert_close(
        pooling.of(levels, boxes), torchvisions(named, boxes, [(256, 256)] * 2), rtol=1e-4, atol=1e-5
    )


def test_no_regions_at_all() -> None:
    levels = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)]
    assert RegionPooling([4.0, 8.0], 7).of(levels, [torch.zeros(0, 4)]).shape == (0, 4, 7, 7)
