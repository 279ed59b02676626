"""Uniformity (Wang & Isola 2020, arXiv 2005.10242): how evenly embeddings cover the unit sphere.

L_uniform = log mean over pairs i != j of exp( -2 |z_i - z_j|^2 ),  z of unit length
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def uniformity(embeddings: Float[Tensor, "images dim"]) -> float:
    """0 where all are the same, lower the more evenly they are spread. Raises ``ValueError`` for a single image.

    >>> uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]))
    -8.0
    """
    if len(embeddings) < 2:
        raise ValueError("uniformity compares images with each other: at least 2 are needed, got 1")
    apart = torch.pdist(normalize(embeddings.double(), dim=-1)).square()
    return float((apart * -2).logsumexp(0) - torch.tensor(float(len(apart))).log())
