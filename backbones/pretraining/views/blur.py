"""Gaussian blur of many images at once, each with a sigma of its own, as two products with a matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

KERNEL_OF_224 = 23


def radius(size: int) -> int:
    """Of the kernel for views of ``size`` pixels: 11 at 224, none below 20.

    >>> radius(224), radius(96), radius(32)
    (11, 4, 1)
    """
    return max(0, round((KERNEL_OF_224 * size / 224 - 1) / 2))


def blur(
    images: Float[Tensor, "batch channels size size"], sigma: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels size size"]:
    """Sigma is in pixels; at the edges the image is reflected, as in torchvision's ``gaussian_blur``."""
    size = images.shape[-1]
    matrix = _matrix(sigma, size, radius(size))
    count, channels = images.shape[:2]
    across = torch.bmm(images.reshape(count, channels * size, size), matrix.mT).view(images.shape)
    return torch.matmul(matrix.unsqueeze(1), across)


def _matrix(sigma: Float[Tensor, " batch"], size: int, radius: int) -> Float[Tensor, "batch size size"]:
    """Weights of each pixel (last) in each."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-0.5 * (offset / sigma.unsqueeze(-1)) ** 2, dim=-1)
    pixel = torch.arange(size, device=sigma.device).unsqueeze(-1)
    at = (pixel + offset).abs()
    at = (size - 1) - (size - 1 - at).abs()
    matrix = torch.zeros(len(sigma), size, size, device=sigma.device)
    rows = pixel.expand_as(at).flatten()
    return matrix.index_put_(
        (torch.arange(len(sigma), device=sigma.device).unsqueeze(-1), rows, at.flatten()),
        kernel.repeat(1, size),
        accumulate=True,
    )
