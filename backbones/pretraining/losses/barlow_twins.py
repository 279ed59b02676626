"""Redundancy reduction (Zbontar et al. 2021, arXiv 2103.03230): two views agree, their dimensions do not repeat.

C_ij = 1/B sum_b n(z_b,i^1) n(z_b,j^2),  n(z) = (z - mean) / sqrt(var + 1e-5) over the batch, var the biased one
L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import batch_norm


def barlow_twins(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], redundancy: float
) -> Float[Tensor, ""]:
    """``redundancy`` is lambda. The 1e-5 is BatchNorm's: a dimension that is constant correlates with nothing."""
    correlation = _standardised(first).T @ _standardised(second) / len(first)
    own = torch.eye(len(correlation), dtype=torch.bool, device=first.device)
    invariance = (1 - correlation.diagonal()).square().sum()
    return invariance + redundancy * correlation.masked_fill(own, 0).square().sum()


def _standardised(z: Tensor) -> Tensor:
    return batch_norm(z, None, None, training=True)
