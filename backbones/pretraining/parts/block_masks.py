"""Masks of whole blocks of patches (BEiT, Bao et al. 2021, arXiv 2106.08254, Algorithm 1; iBOT, data2vec, DINOv2).

Until enough of an image's patches are masked: a block of area s in (4, what is left), uniform, and of an aspect r in
(0.3, 1 / 0.3), uniform in its logarithm; sqrt(s r) patches high and sqrt(s / r) wide, anywhere inside the grid.

Deviation: exactly the count that was asked for. Where the last block is too large, patches of it are dropped at random.
"""

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

SMALLEST = 4
"""Patches in the smallest block, while as many are left."""
ASPECTS = (0.3, 1 / 0.3)


def block_masks(
    grid: tuple[int, int], count: int | Int64[Tensor, " images"], images: int, generator: torch.Generator | None = None
) -> Bool[Tensor, "images patches"]:
    """True where masked: ``count`` patches (of each image, or one number each) of a ``grid`` down and across, in rows.

    Drawn on the CPU, for all images at once; without a generator from torch's own, which the training's loop seeds for
    every micro-batch. Raises ``ValueError`` for more patches than there are.
    """
    patches = grid[0] * grid[1]
    counts = torch.as_tensor(count, dtype=torch.int64).expand(images)
    if images and not 0 <= int(counts.min()) <= int(counts.max()) <= patches:
        raise ValueError(f"cannot mask {int(counts.min())} to {int(counts.max())} of {patches} patches")
    masked = torch.zeros(images, patches, dtype=torch.bool)
    left = counts.clone()
    while len(unfinished := left.nonzero()[:, 0]):
        masked[unfinished] |= _added(grid, masked[unfinished], left[unfinished], generator)
        left = counts - masked.sum(1)
    return masked


def _added(
    grid: tuple[int, int],
    masked: Bool[Tensor, "images patches"],
    left: Int64[Tensor, " images"],
    generator: torch.Generator | None,
) -> Bool[Tensor, "images patches"]:
    """What one more block masks: at most ``left`` patches that were not."""
    new = _blocks(grid, left, generator) & ~masked
    drawn = torch.rand(new.shape, generator=generator)
    rank = drawn.masked_fill(~new, torch.inf).argsort(1).argsort(1)
    return new & (rank < left[:, None])


def _blocks(
    grid: tuple[int, int], left: Int64[Tensor, " images"], generator: torch.Generator | None
) -> Bool[Tensor, "images patches"]:
    """One block an image, of at most about ``left`` patches."""
    area, aspect, *corner = torch.rand(4, len(left), generator=generator)
    smallest = left.clamp(max=SMALLEST)
    area = smallest + area * (left - smallest)
    low, high = (math.log(each) for each in ASPECTS)
    root = (0.5 * (low + aspect * (high - low))).exp()
    sides = (area.sqrt() * root, area.sqrt() / root)
    down, across = (_run(*each) for each in zip(grid, sides, corner, strict=True))
    return (down[:, :, None] & across[:, None, :]).flatten(1)


def _run(
    length: int, side: Float[Tensor, " images"], place: Float[Tensor, " images"]
) -> Bool[Tensor, "images {length}"]:
    """``side`` neighbours of ``length`` (at least 1, at most all), beginning at the share ``place`` of what is free."""
    size = side.round().clamp(1, length)
    start = (place * (length - size + 1)).floor()
    at = torch.arange(length)
    return (at >= start[:, None]) & (at < (start + size)[:, None])
