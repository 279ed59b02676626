"""Alignment (Wang & Isola 2020, arXiv 2005.10242): how far apart two views of an image are on the unit sphere.

L_align = mean over images of |z_1 - z_2|^2,  z of unit length
"""

from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def alignment(embeddings: Float[Tensor, "images views dim"]) -> float:
    """0 (views are alike) to 4, the mean over pairs of views. Raises ``ValueError`` for a single view.

    >>> alignment(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]))
    2.0
    """
    views = normalize(embeddings.double(), dim=-1).unbind(1)
    if len(views) < 2:
        raise ValueError("alignment compares views of an image with each other: at least 2 are needed, got 1")
    apart = [(one - other).square().sum(-1).mean() for one, other in combinations(views, 2)]
    return float(torch.stack(apart).mean())
