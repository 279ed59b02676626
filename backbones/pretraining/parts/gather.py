"""A batch that devices share, brought together in the order a single device would have it; gradients go back."""

from typing import Any

import torch
import torch.distributed as distributed
from jaxtyping import Shaped
from torch import Tensor


def gathered(mine: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The shares of all devices, which are of one size; alone, ``mine`` itself.

    The gradient of a share is the sum of what all devices find for it, so where every device computes the same loss of
    the whole and gradients are averaged over devices, it is that of one device with the whole batch.
    """
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return mine
    together: Tensor = _Gather.apply(mine)
    return together


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        shares = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(shares, mine.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (whole,) = gradients
        whole = whole.contiguous().clone()
        distributed.all_reduce(whole)
        return whole.chunk(distributed.get_world_size())[distributed.get_rank()]
