"""Prototypes: trained directions that stand for clusters."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize


class Prototypes(nn.Module):
    """``count`` vectors of unit length, as long as :meth:`renormalise` follows every update."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(normalize(torch.randn(count, dim), dim=1))

    def forward(self, vectors: Float[Tensor, "count dim"]) -> Float[Tensor, "count prototypes"]:
        """Inner products, in float32: divided by a small epsilon, half precision's rounding would show."""
        with torch.autocast(vectors.device.type, enabled=False):
            return vectors.float() @ self.weight.T

    @torch.no_grad()
    def renormalise(self) -> None:
        """Back to unit length; no gradient goes through it."""
        self.weight.copy_(normalize(self.weight, dim=1))
