"""Fixed positions of patches: sines and cosines of their row and column."""

import torch
from jaxtyping import Float
from torch import Tensor


def sine_positions(grid: tuple[int, int], width: int) -> Float[Tensor, "patches width"]:
    """Of Vaswani et al. 2017 in two dimensions, as MAE has them: the first half of the numbers for the column, the
    second for the row; each the sines and then the cosines of it at frequencies 10000^(-i / n), i < n = width / 4.

    Raises ``ValueError`` for a width that four does not divide.
    """
    if width % 4:
        raise ValueError(f"positions in two dimensions need a width that 4 divides, not {width}")
    count = width // 4
    frequencies = 10000.0 ** (-torch.arange(count, dtype=torch.float64) / count)
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    angles = [places.reshape(-1, 1) * frequencies for places in (columns, rows)]
    return torch.cat([wave(each) for each in angles for wave in (torch.sin, torch.cos)], dim=1).float()
