"""Pyramids by strides; anchors and regions at those strides, where torchvision guesses them."""

import pytest
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from tasks.detection.pyramids.choosing import pyramid_over
from tasks.detection.pyramids.feature_pyramid import FeaturePyramid
from tasks.detection.pyramids.simple_feature_pyramid import SimpleFeaturePyramid
from tasks.detection.rcnn.anchors import Anchors
from tasks.detection.rcnn.pooling import LevelOfSize, RegionPooling


@pytest.mark.parametrize(
    ("given", "kind", "strides", "pooled"),
    [
        ((4, 8, 16, 32), FeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((2, 4, 8, 16, 32), FeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((2, 4, 8, 16), FeaturePyramid, (4, 8, 16, 32, 64), 2),
        ((4, 8, 16, 32, 64), FeaturePyramid, (4, 8, 16, 32, 64), 0),
        ((8, 16, 32, 64, 128), FeaturePyramid, (8, 16, 32, 64), 0),
        ((16, 32), FeaturePyramid, (16, 32, 64), 1),
        ((4, 16), FeaturePyramid, (4, 16, 32, 64), 2),
        ((16,), SimpleFeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((8,), SimpleFeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((32,), SimpleFeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((14,), SimpleFeaturePyramid, (3.5, 7, 14, 28, 56), 1),
        ((1, 2), SimpleFeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((1, 16), SimpleFeaturePyramid, (4, 8, 16, 32, 64), 1),
        ((128, 256), SimpleFeaturePyramid, (4, 8, 16, 32, 64), 1),
    ],
)
def test_strides_alone_choose(given: tuple[int, ...], kind: type, strides: tuple[float, ...], pooled: int) -> None:
    """Maps of sides that are no multiple of the strides, as backbones give them: rounded up."""
    pyramid = pyramid_over({stride: 6 + level for level, stride in enumerate(given)}, 8)
    assert type(pyramid) is kind
    assert (pyramid.strides, pyramid.pooled, pyramid.channels) == (strides, pooled, 8)
    height, width = 160, 224
    maps = {
        stride: torch.randn(2, 6 + level, -(-height // stride), -(-width // stride))
        for level, stride in enumerate(given)
    }
    levels = pyramid(maps)
    assert len(levels) == len(strides)
    for stride, level in zip(strides, levels, strict=True):
        assert level.shape[:2] == (2, 8)
        for cells, side in zip(level.shape[2:], (height, width), strict=True):
            assert side <= cells * stride < side + max(stride, *given)
    assert all(parameter.requires_grad for parameter in pyramid.parameters())


def test_a_feature_pyramid_adds_coarse_to_fine() -> None:
    pyramid = pyramid_over({4: 3, 8: 5}, 8)
    assert isinstance(pyramid, FeaturePyramid)
    maps = {4: torch.randn(1, 3, 6, 8), 8: torch.randn(1, 5, 3, 4)}
    network: FeaturePyramidNetwork = pyramid.network
    inner = [block(maps[stride]) for block, stride in zip(network.inner_blocks, (4, 8), strict=True)]
    inner[0] = inner[0] + inner[1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    outer = [block(each) for block, each in zip(network.layer_blocks, inner, strict=True)]
    for level, expected in zip(pyramid(maps), [*outer, outer[1][..., ::2, ::2]], strict=False):
        torch.testing.assert_close(level, expected)


def test_a_simple_pyramid_is_that_of_vitdet() -> None:
    """Strides 4, 8, 16, 32 of 16: two, one, no transposed convolution, and a pooling; all levels of the one map."""
    pyramid = pyramid_over({16: 12}, 8)
    counts = [
        [
            sum(isinstance(each, kind) for each in level.modules())
            for kind in (nn.ConvTranspose2d, nn.GELU, nn.MaxPool2d)
        ]
        for level in pyramid.levels
    ]
    assert counts == [[2, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]
    widths = [
        [each.out_channels for each in level.modules() if isinstance(each, nn.ConvTranspose2d)]
        for level in pyramid.levels
    ]
    assert widths == [[6, 3], [6], [], []]
    features = torch.randn(1, 12, 4, 4)
    reduce, smooth = pyramid.levels[3][-2:]
    torch.testing.assert_close(
        pyramid({16: features})[3], smooth(reduce(features.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))))
    )
    reduced = pyramid.levels[2][0](features)
    torch.testing.assert_close(reduced.mean(1), torch.zeros(1, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(reduced.var(1, correction=0), torch.ones(1, 4, 4), atol=1e-3, rtol=0)


def test_anchors_are_torchvisions_where_it_guesses_right() -> None:
    strides = (4.0, 8.0, 16.0, 32.0, 64.0)
    levels = [torch.zeros(2, 1, 128 // int(stride), 192 // int(stride), dtype=torch.bfloat16) for stride in strides]
    images = ImageList(torch.zeros(2, 3, 128, 192), [(128, 192), (100, 100)])
    theirs = AnchorGenerator(tuple((8 * stride,) for stride in strides), ((0.5, 1.0, 2.0),) * 5)
    found, expected = (
        Anchors(strides, 8.0, (0.5, 1.0, 2.0))(images, levels),
        theirs(images, [each.float() for each in levels]),
    )
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other)


def test_anchors_are_a_stride_apart_where_sides_are_rounded_up() -> None:
    images = ImageList(torch.zeros(1, 3, 96, 100), [(96, 100)])
    coarse, fine = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 28, 29)
    (anchors,) = Anchors((64.0,), 8.0, (1.0,))(images, [coarse])
    assert ((anchors[:, :2] + anchors[:, 2:]) / 2).tolist() == [[0, 0], [64, 0], [0, 64], [64, 64]]
    (anchors,) = Anchors((3.5,), 8.0, (1.0,))(images, [fine])
    centres = ((anchors[:, :2] + anchors[:, 2:]) / 2).view(28, 29, 2)
    torch.testing.assert_close(centres[3, 5], torch.tensor([17.5, 10.5]))
    torch.testing.assert_close(anchors[0], torch.tensor([-14.0, -14, 14, 14]))


def test_regions_are_read_from_torchvisions_level_and_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 1 + 1000 * torch.rand(300, 2, generator=generator) ** 4], 1)
    boxes[0], boxes[1] = torch.tensor([0.0, 0, 112, 112]), torch.tensor([0.0, 0, 224, 224])
    strides = (4.0, 8.0, 16.0, 32.0)
    assert torch.equal(LevelOfSize(strides)([boxes]), LevelMapper(2, 5)([boxes]))
    assert LevelOfSize((4.0, 16.0))([boxes[:2]]).tolist() == [0, 1]
    assert LevelOfSize((3.5, 7.0, 14.0, 28.0))([boxes[:2]]).tolist() == [1, 2]
    levels = [torch.randn(1, 2, 256 // int(stride), 256 // int(stride), generator=generator) for stride in strides]
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    expected = theirs({str(level): each for level, each in enumerate(levels)}, [boxes], [(256, 256)])
    # Positions in the map are rounded in another order: 1e-5 of a cell.
    torch.testing.assert_close(RegionPooling(strides, 7).of(levels, [boxes]), expected, rtol=1e-4, atol=1e-5)


def test_regions_are_where_the_strides_say() -> None:
    """A map of each cell's centre is read as the box's own cell centres, at a stride that is no power of two."""
    across = (torch.arange(29) + 0.5) * 3.5
    ramp = torch.stack([across.expand(28, 29), across[:28, None].expand(28, 29)])[None]
    (found,) = RegionPooling((3.5,), 7).of([ramp], [torch.tensor([[10.0, 20, 45, 55]])])
    torch.testing.assert_close(found[0, 3], 10 + 5 * (torch.arange(7) + 0.5) + 3.5 / 2, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1, :, 3], 20 + 5 * (torch.arange(7) + 0.5) + 3.5 / 2, atol=1e-3, rtol=0)
