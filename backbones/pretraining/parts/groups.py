"""Connected groups of pixels: rectangles at random, over each other, until enough of an image is covered."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def random_groups(
    shares: Float[Tensor, " images"], size: tuple[int, int], step: int, largest: float, generator: torch.Generator
) -> Bool[Tensor, "images height width"]:
    """Pixels that rectangles cover, placed one after the other until an image's share of them is not below its of
    ``shares``: by less than a rectangle above it.

    Sides and places are multiples of ``step`` pixels, all as likely, a side up to ``largest`` of the image's. Drawn on
    the host, covered where ``shares`` are.
    Raises ``ValueError`` where the image is not whole steps.
    """
    if any(side % step for side in size):
        raise ValueError(f"images of {size[0]} x {size[1]} pixels are not whole steps of {step}")
    height, width = size[0] // step, size[1] // step
    covered = torch.zeros(len(shares), height, width, dtype=torch.bool, device=shares.device)
    while (lacking := covered.flatten(1).sum(dim=1) < shares * height * width).any():
        rows = _stretches(len(shares), height, largest, generator).to(shares.device)
        columns = _stretches(len(shares), width, largest, generator).to(shares.device)
        covered |= _between(rows, height)[:, :, None] & _between(columns, width)[:, None] & lacking[:, None, None]
    return covered.repeat_interleave(step, dim=1).repeat_interleave(step, dim=2) if step > 1 else covered


def _stretches(images: int, length: int, largest: float, generator: torch.Generator) -> Int64[Tensor, "images 2"]:
    """Where a rectangle begins along a side, and where it ends."""
    extent = torch.randint(1, max(1, int(largest * length)) + 1, (images,), generator=generator)
    start = (torch.rand(images, generator=generator) * (length - extent + 1)).long()
    return torch.stack([start, start + extent], dim=1)


def _between(stretches: Int64[Tensor, "images 2"], length: int) -> Bool[Tensor, "images places"]:
    at = torch.arange(length, device=stretches.device)
    return (at >= stretches[:, :1]) & (at < stretches[:, 1:])
