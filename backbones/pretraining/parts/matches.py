"""Which locations of two views' maps belong together."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def places(
    boxes: Float[Tensor, "batch 4"], flipped: Bool[Tensor, " batch"], rows: int, columns: int
) -> Float[Tensor, "batch locations 2"]:
    """The centres of a map's cells in the image the view was cut from, row by row: (down, across) as shares of its
    height and width.
    """
    top, left, height, width = boxes.unsqueeze(-1).unbind(1)
    down = (torch.arange(rows, device=boxes.device) + 0.5) / rows
    across = (torch.arange(columns, device=boxes.device) + 0.5) / columns
    vertical = top + height * down
    horizontal = left + width * torch.where(flipped[:, None], 1 - across, across)
    grid = vertical[:, :, None].expand(-1, -1, columns), horizontal[:, None, :].expand(-1, rows, -1)
    return torch.stack(grid, dim=-1).flatten(1, 2)


def nearest(
    distances: Float[Tensor, "batch here there"], count: int
) -> tuple[Int64[Tensor, "batch count"], Int64[Tensor, "batch count"]]:
    """The ``count`` locations here that are nearest to any there, nearest first, and those there.

    Raises ``ValueError`` where there are fewer.
    """
    if count > distances.shape[1]:
        raise ValueError(f"cannot match {count} locations of a map of {distances.shape[1]}; set matches lower")
    gaps, partners = distances.min(dim=2)
    here = gaps.argsort(dim=1, stable=True)[:, :count]
    return here, partners.gather(1, here)


def chosen(
    vectors: Float[Tensor, "batch locations dim"], numbers: Int64[Tensor, "batch count"]
) -> Float[Tensor, "batch count dim"]:
    """The vectors at these locations."""
    return vectors.gather(1, numbers.unsqueeze(-1).expand(-1, -1, vectors.shape[-1]))
