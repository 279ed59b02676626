"""Colour operations on many images at once, each with a factor of its own; torchvision's, in float."""

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "batch 3 height width"]
Factors = Float[Tensor, " batch"]
GREY = (0.2989, 0.587, 0.114)


def grey(images: Images) -> Float[Tensor, "batch 1 height width"]:
    """What an eye sees as bright."""
    red, green, blue = images.unbind(1)
    return (GREY[0] * red).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).unsqueeze(1)


def brightness(images: Images, factors: Factors) -> Images:
    """Towards black."""
    return (images * _each(factors)).clamp_(0, 1)


def contrast(images: Images, factors: Factors) -> Images:
    """Towards the image's mean grey."""
    return _blended(images, grey(images).mean((-2, -1), keepdim=True), factors)


def saturation(images: Images, factors: Factors) -> Images:
    """Towards each pixel's grey."""
    return _blended(images, grey(images), factors)


def hue(images: Images, factors: Factors) -> Images:
    """Around the circle of colours, by shares of it."""
    red, green, blue = images.unbind(1)
    lowest, highest = torch.aminmax(images, dim=1)
    spread = highest - lowest
    divisor = torch.where(spread == 0, 1.0, spread)
    of_red, of_green = (green - blue) / divisor, (blue - red) / divisor + 2
    of_blue = (red - green) / divisor + 4
    sixth = torch.where(highest == red, of_red, torch.where(highest == green, of_green, of_blue))
    turned = sixth + 6 * factors.view(-1, 1, 1)
    return torch.stack([_channel(turned, offset, highest, spread) for offset in (5, 3, 1)], dim=1)


def solarise(images: Images) -> Images:
    """Every value of at least one half inverted."""
    return torch.where(images >= 0.5, 1 - images, images)


def _channel(sixth: Tensor, offset: int, highest: Tensor, spread: Tensor) -> Tensor:
    """From hue in sixths of the circle back: v - v s max(0, min(k, 4 - k, 1)) with k = (offset + hue) mod 6."""
    k = torch.remainder(sixth + offset, 6)
    return highest - spread * torch.minimum(k, 4 - k).clamp_(0, 1)


def _blended(images: Images, other: Tensor, factors: Factors) -> Images:
    return torch.lerp(other, images, _each(factors)).clamp_(0, 1)


def _each(factors: Factors) -> Tensor:
    return factors.view(-1, 1, 1, 1)


JITTER = (brightness, contrast, saturation, hue)
"""In the order of their factors."""
