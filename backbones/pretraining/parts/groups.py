"""Connected groups of pixels: rectangles at random, over each other, until enough of an image is covered."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Groups(NamedTuple):
    """Which pixels are covered, and, row by row, the number of the pixel that stands at each in the image a rectangle
    was moved from: its own where nothing covers it.
    """

    covered: Bool[Tensor, "images height width"]
    sources: Int64[Tensor, "images height width"]


def random_groups(
    shares: Float[Tensor, " images"],
    size: tuple[int, int],
    step: int,
    largest: float,
    generator: torch.Generator,
) -> Groups:
    """Rectangles one after the other until the share of an image that they cover is not below its of ``shares``.

    Sides and places are drawn alike from multiples of ``step`` pixels, a side up to ``largest`` of the image's. Drawn on
    the host, made where ``shares`` are.
    Raises ``ValueError`` where the image is not whole steps.
    """
    if any(side % step for side in size):
        raise ValueError(f"images of {size[0]} x {size[1]} pixels are not whole steps of {step}")
    height, width = size[0] // step, size[1] // step
    own = torch.arange(height * width, device=shares.device).view(height, width).expand(len(shares), -1, -1)
    covered, sources = torch.zeros_like(own, dtype=torch.bool), own
    while True:
        lacking = covered.flatten(1).double().mean(dim=1) < shares
        if not lacking.any():
            return Groups(*_enlarged(covered, sources, step))
        top, tall, from_top = _stretches(len(shares), height, largest, generator).to(shares.device)
        left, wide, from_left = _stretches(len(shares), width, largest, generator).to(shares.device)
        inside = _between(top, tall, height)[:, :, None] & _between(left, wide, width)[:, None]
        inside &= lacking[:, None, None]
        moved = own + ((from_top - top) * width + from_left - left)[:, None, None]
        covered, sources = covered | inside, torch.where(inside, moved, sources)


def _stretches(images: int, length: int, largest: float, generator: torch.Generator) -> Tensor:
    """Of a side: where a rectangle begins, how long it is, and where what fills it begins."""
    longest = max(1, int(largest * length))
    extent = torch.randint(1, longest + 1, (images,), generator=generator)
    start, source = (torch.rand(2, images, generator=generator) * (length - extent + 1)).long()
    return torch.stack([start, extent, source])


def _between(start: Tensor, extent: Tensor, length: int) -> Tensor:
    at = torch.arange(length, device=start.device)
    return (at >= start[:, None]) & (at < (start + extent)[:, None])


def _enlarged(covered: Tensor, sources: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Every place as a square of ``step`` pixels a side."""
    if step == 1:
        return covered, sources
    width = sources.shape[2]
    rows, columns, inside = sources // width, sources % width, torch.arange(step, device=sources.device)
    rows = (rows[:, :, None, :, None] * step + inside[:, None, None]).expand(-1, -1, -1, -1, step)
    columns = (columns[:, :, None, :, None] * step + inside).expand(-1, -1, step, -1, -1)
    pixels = (rows * width * step + columns).flatten(3, 4).flatten(1, 2)
    return covered.repeat_interleave(step, dim=1).repeat_interleave(step, dim=2), pixels
