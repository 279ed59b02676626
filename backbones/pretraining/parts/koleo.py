"""KoLeo (Sablayrolles et al. 2019, arXiv 1806.03198): vectors spread evenly, by Kozachenko and Leonenko's entropy."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

EPSILON = 1e-8
"""Added to a distance: two equal vectors are 18.4 bad, not infinitely."""


def koleo(vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """- mean over i of log min over j != i of |x_i - x_j|, x of unit length.

    Raises ``ValueError`` for a single vector, which has no neighbour.
    """
    if len(vectors) < 2:
        raise ValueError("KoLeo needs at least 2 images in a batch: a single one has no neighbour")
    unit = normalize(vectors, dim=1)
    with torch.no_grad():
        nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(1)
    distances: Tensor = torch.linalg.vector_norm(unit - unit[nearest], dim=1)
    return -(distances + EPSILON).log().mean()
