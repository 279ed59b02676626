"""LiDAR (Thilak et al. 2024, arXiv 2312.04000): how many directions tell images apart in spite of their views.

Of q views each of n images, e_iv with mean mu_i, and mu the mean of all:

    S_b = 1/n sum_i (mu_i - mu)(mu_i - mu)^T
    S_w = 1/(n q) sum_i sum_v (e_iv - mu_i)(e_iv - mu_i)^T + delta I
    lambda = eigenvalues of S_w^-1/2 S_b S_w^-1/2,  p = lambda / sum lambda
    LiDAR  = exp( - sum_k p_k log p_k )

Deviations: 0 log 0 = 0 instead of 1e-7 added to p. The paper takes 50 views of 1,000 images; here it is as many as are
given, often two, which is enough to compare a training with itself.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.feature_health import effective_number

DELTA = 1e-4
"""The paper's, added to the scatter within images so that it can be inverted."""


def lidar(embeddings: Float[Tensor, "images views dim"]) -> float:
    """From 1 to min(images - 1, dim); 0 where all images are alike. Raises ``ValueError`` for a single view."""
    images, views, dim = embeddings.shape
    if views < 2:
        raise ValueError("LiDAR compares views of an image with each other: at least 2 are needed, got 1")
    exact = embeddings.double()
    means = exact.mean(1)
    within = (exact - means[:, None]).flatten(0, 1)
    scatter = within.T @ within / (images * views) + DELTA * torch.eye(dim, dtype=exact.dtype, device=exact.device)
    # With S_w = L L^T, the eigenvalues are the squared singular values of L^-1 (mu_i - mu) / sqrt(n).
    between = (means - means.mean(0)).T / images**0.5
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(scatter), between, upper=False)
    return effective_number(torch.linalg.svdvals(whitened).square().cpu().numpy())
