"""Each operation of a view, image by image, against torchvision's function with the same parameters."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as torchvision

from backbones.pretraining.views import colour
from backbones.pretraining.views.blur import blur, radius
from backbones.pretraining.views.resampling import resampled

FACTORS = torch.tensor([0.0, 0.2, 0.7, 1.0, 1.3, 1.8])


def random_pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [8, 32, 70])
def test_crop_resize_and_flip(size: int) -> None:
    """Boxes larger and smaller than the view, of one pixel and of the whole; float32 rounding: 1e-5 of the range."""
    images = random_pixels(4, 3, 41, 53)
    boxes = torch.tensor([[0, 0, 41, 53], [3, 7, 5, 40], [40, 52, 1, 1], [10, 0, 31, 9]])
    boxes = torch.stack([boxes, boxes.roll(1, 0)], dim=1)
    flip = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    found = resampled(images.transpose(1, 2).contiguous(), boxes, flip, size)
    for image in range(4):
        for view in range(2):
            top, left, height, width = boxes[image, view].tolist()
            plain = torchvision.resized_crop(images[image], top, left, height, width, [size, size], antialias=True)
            plain = torchvision.horizontal_flip(plain) if flip[image, view] else plain
            torch.testing.assert_close(found[image, view], plain, atol=1e-5, rtol=0)


def test_what_lies_outside_a_box_is_not_seen() -> None:
    images, boxes = random_pixels(1, 20, 3, 30), torch.tensor([[[4, 6, 9, 11]]])
    other = torch.full_like(images, 255)
    other[:, 4:13, :, 6:17] = images[:, 4:13, :, 6:17]
    flip = torch.tensor([[False]])
    assert torch.equal(resampled(images, boxes, flip, 5), resampled(other, boxes, flip, 5))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_jitter(name: str) -> None:
    images = random_pixels(6, 3, 9, 7)
    found = getattr(colour, name)(images, FACTORS)
    for image, factor, mine in zip(images, FACTORS.tolist(), found, strict=True):
        torch.testing.assert_close(mine, getattr(torchvision, f"adjust_{name}")(image, factor), atol=1e-6, rtol=0)


def test_hue() -> None:
    """Also of greys, black, white and the six pure colours, where the sectors of the circle meet."""
    pure = torch.tensor([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]])
    images = torch.cat([random_pixels(3, 50), pure.T], dim=1).view(1, 3, 2, -1).repeat(6, 1, 1, 1)
    factors = torch.tensor([-0.5, -0.2, 0.0, 0.05, 0.31, 0.5])
    for image, factor, mine in zip(images, factors.tolist(), colour.hue(images, factors), strict=True):
        torch.testing.assert_close(mine, torchvision.adjust_hue(image, factor), atol=2e-6, rtol=0)


def test_grey_and_solarisation() -> None:
    images = random_pixels(3, 3, 8, 8)
    images[0, 0, 0, 0] = 0.5
    torch.testing.assert_close(colour.grey(images), torchvision.rgb_to_grayscale(images), atol=1e-6, rtol=0)
    assert torch.equal(colour.solarise(images), torchvision.solarize(images, 0.5))


@pytest.mark.parametrize("size", [20, 32, 96, 224])
def test_blur(size: int) -> None:
    images, sigma = random_pixels(3, 3, size, size), torch.tensor([0.1, 1.0, 2.0]) * size / 224
    kernel = 2 * radius(size) + 1
    for image, each, mine in zip(images, sigma.tolist(), blur(images, sigma), strict=True):
        plain = torchvision.gaussian_blur(image, [kernel, kernel], [each, each])
        torch.testing.assert_close(mine, plain, atol=3e-6, rtol=0)
    assert np.isclose(kernel / size, 23 / 224, atol=1 / size)
