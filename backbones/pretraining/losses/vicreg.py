"""VICReg's three terms (Bardes et al. 2022, arXiv 2105.04906), of z of B images, d dimensions, not normalised.

    s(z, z') = mean over images and dimensions of (z - z')^2
    v(z) = mean over dimensions of relu(1 - sqrt(var + 1e-4))
    c(z) = 1/d sum_{i != j} cov_ij^2

var and cov over the batch are the unbiased ones (divided by B - 1). The paper's s is the sum over dimensions; its
authors' code, with which the weights 25, 25, 1 were found, takes the mean.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import mse_loss, relu

EPSILON = 1e-4
"""In the root of the variance, so that its gradient is bounded where everything is constant."""


def invariance(first: Float[Tensor, "batch *places dim"], second: Float[Tensor, "batch *places dim"]) -> Tensor:
    """s."""
    return mse_loss(first, second)


def variance(z: Float[Tensor, "batch *places dim"]) -> Float[Tensor, ""]:
    """v; of several places in an image each is a batch of its own, and this their mean."""
    _check_batch(z)
    return relu(1 - (z.var(dim=0) + EPSILON).sqrt()).mean()


def covariance(z: Float[Tensor, "batch *places dim"]) -> Float[Tensor, ""]:
    """c, with places as in :func:`variance`."""
    _check_batch(z)
    centred = z - z.mean(dim=0)
    found = torch.einsum("b...c,b...d->...cd", centred, centred) / (len(z) - 1)
    own = torch.eye(z.shape[-1], dtype=torch.bool, device=z.device)
    return (found.masked_fill(own, 0).square().sum((-2, -1)) / z.shape[-1]).mean()


def _check_batch(z: Tensor) -> None:
    if len(z) < 2:
        raise ValueError("VICReg needs at least 2 images in a batch: a single one has no variance")
