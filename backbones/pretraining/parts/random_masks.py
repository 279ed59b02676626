"""Patches marked at random, of every image as many."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor


def random_masks(images: int, places: int, share: float, generator: torch.Generator) -> Bool[Tensor, "images places"]:
    """``share`` of the places, rounded up (so that floor((1 - share) n) are left), each choice as likely as any other.

    >>> random_masks(2, 64, 0.75, torch.default_generator).sum(1)
    tensor([48, 48])
    """
    marked = math.ceil(round(share * places, 6))  # 0.55 * 100 is a little above 55
    order = torch.rand(images, places, generator=generator).argsort(dim=1)
    return order.argsort(dim=1) < marked


def random_unit_masks(
    images: int, grid: tuple[int, int], unit: int, share: float, generator: torch.Generator
) -> Bool[Tensor, "images patches"]:
    """Squares of ``unit`` patches a side that tile the grid, ``share`` of them, rounded up, marked.

    Raises ``ValueError`` where they do not tile it.
    """
    rows, columns = grid
    if rows % unit or columns % unit:
        raise ValueError(f"units of {unit} patches a side do not tile a grid of {rows} x {columns}")
    marked = random_masks(images, rows // unit * (columns // unit), share, generator)
    squares = marked.view(images, rows // unit, columns // unit)
    return squares.repeat_interleave(unit, dim=1).repeat_interleave(unit, dim=2).flatten(1)
