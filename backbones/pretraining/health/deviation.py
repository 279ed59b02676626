"""How much the dimensions of unit embeddings vary over images (SimSiam, Chen & He 2021, arXiv 2011.10566, Fig. 2).

deviation = sqrt(d) * mean over dimensions of the standard deviation of z,  z of unit length
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def deviation(embeddings: Float[Tensor, "images dim"]) -> float:
    """0 where all images are the same, at most 1, which isotropic Gaussian embeddings reach.

    >>> import torch
    >>> deviation(torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    0.0
    """
    unit = normalize(embeddings.double(), dim=-1)
    return float(unit.std(0, correction=0).mean() * unit.shape[1] ** 0.5)
