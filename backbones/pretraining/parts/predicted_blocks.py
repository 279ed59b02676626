"""I-JEPA's masks (Assran et al. 2023, arXiv 2301.08243, section 3): blocks to predict, and a context without them."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from backbones.pretraining.parts.patches import numbers_of

LEAST_CONTEXT = 0.05
"""Of the patches; the authors' code wants 10 of 196."""
TRIES = 1000


class PredictedBlocks(NamedTuple):
    """Numbers of patches, rising. A context shares no patch with its image's targets; targets may overlap."""

    context: Int64[Tensor, "images kept"]
    targets: Int64[Tensor, "images targets picked"]


def predicted_blocks(
    grid: tuple[int, int],
    images: int,
    targets: int,
    scale: tuple[float, float],
    aspect: tuple[float, float],
    context_scale: tuple[float, float],
    generator: torch.Generator,
) -> PredictedBlocks:
    """``targets`` blocks an image, all of one area in ``scale`` (a share of the grid) and aspect (height over width) in
    ``aspect``, drawn once, anywhere; the context a block of the grid's own shape and an area in ``context_scale``, less
    the targets. Contexts are as large as the smallest: patches of larger ones are left out at random.

    Raises ``ValueError`` where targets leave next to no context.
    """
    size = _size(grid, _between(scale, generator), _between(aspect, generator))
    whole = _size(grid, _between(context_scale, generator), grid[0] / grid[1])
    chosen = torch.zeros(images, targets, grid[0] * grid[1], dtype=torch.bool)
    context = torch.zeros(images, grid[0] * grid[1], dtype=torch.bool)
    least = max(1, round(LEAST_CONTEXT * context.shape[1]))
    for _ in range(TRIES):
        poor = (context.sum(dim=1) < least).nonzero()[:, 0]
        if not len(poor):
            return PredictedBlocks(numbers_of(_as_small_as_the_smallest(context, generator)), _numbers(chosen))
        chosen[poor] = _blocks(grid, len(poor) * targets, size, generator).view(len(poor), targets, -1)
        context[poor] = _blocks(grid, len(poor), whole, generator) & ~chosen[poor].any(dim=1)
    raise ValueError(
        f"{targets} targets of {size[0]} x {size[1]} patches leave no context of {least} on a grid of "
        f"{grid[0]} x {grid[1]}: make fewer or smaller ones"
    )


def _between(bounds: tuple[float, float], generator: torch.Generator) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))


def _size(grid: tuple[int, int], scale: float, aspect: float) -> tuple[int, int]:
    area = scale * grid[0] * grid[1]
    sides = (math.sqrt(area * aspect), math.sqrt(area / aspect))
    return min(grid[0], max(1, round(sides[0]))), min(grid[1], max(1, round(sides[1])))


def _blocks(
    grid: tuple[int, int], count: int, size: tuple[int, int], generator: torch.Generator
) -> Bool[Tensor, "count patches"]:
    inside = []
    for length, side in zip(grid, size, strict=True):
        start = torch.randint(0, length - side + 1, (count, 1), generator=generator)
        at = torch.arange(length)
        inside.append((at >= start) & (at < start + side))
    return (inside[0][:, :, None] & inside[1][:, None, :]).flatten(1)


def _as_small_as_the_smallest(
    masks: Bool[Tensor, "images patches"], generator: torch.Generator
) -> Bool[Tensor, "images patches"]:
    """Patches of larger masks left out at random: by their order, the grid's last rows would be seen less."""
    drawn = torch.rand(masks.shape, generator=generator).masked_fill(~masks, torch.inf)
    return drawn.argsort(dim=1).argsort(dim=1) < masks.sum(dim=1).min()


def _numbers(chosen: Bool[Tensor, "images targets patches"]) -> Int64[Tensor, "images targets picked"]:
    return numbers_of(chosen.flatten(0, 1)).view(*chosen.shape[:2], -1)
