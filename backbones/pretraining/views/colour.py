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
    """Around the circle of colours, by shares of it: by way of hue, value and the spread of the channels, and back."""
    red, green, blue = images.unbind(1)
    highest = torch.maximum(torch.maximum(red, green), blue)
    spread = highest - torch.minimum(torch.minimum(red, green), blue)
    divisor = torch.where(spread == 0, 1.0, spread)
    from_green = torch.where(highest == green, (blue - red).div_(divisor).add_(2), (red - green).div_(divisor).add_(4))
    sixth = torch.where(highest == red, (green - blue).div_(divisor), from_green)
    turned = sixth.add_(6 * factors.view(-1, 1, 1)).remainder_(6)
    missing = [(turned - 3).abs_().neg_().add_(2), (turned - 2).abs_().sub_(1), (turned - 4).abs_().sub_(1)]
    return torch.stack([highest - share.clamp_(0, 1).mul_(spread) for share in missing], dim=1)


def solarise(images: Images) -> Images:
    """Every value of at least one half inverted."""
    return torch.where(images >= 0.5, 1 - images, images)


def _blended(images: Images, other: Tensor, factors: Factors) -> Images:
    return torch.lerp(other, images, _each(factors)).clamp_(0, 1)


def _each(factors: Factors) -> Tensor:
    return factors.view(-1, 1, 1, 1)


JITTER = (brightness, contrast, saturation, hue)
"""In the order of their factors."""
