"""SIGReg (Balestriero & LeCun 2025, arXiv 2511.08544): are embeddings distributed as an isotropic Gaussian?

Along a unit vector a, x_n = <a, z_n> of N images should be standard normal. Epps and Pulley's test compares
characteristic functions, with the Gaussian's own as the window:

    T(a) = N * integral from -3 to 3 of |1/N sum_n exp(i t x_n) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt

The integrand is even: twice the trapezoid rule with 17 knots from 0 to 3. For Gaussian x the expectation of T is
integral (1 - exp(-t^2)) exp(-t^2 / 2) dt = 1.05 whatever N; for a collapsed z it grows with N.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

KNOTS, END = 17, 3.0


def sigreg(z: Float[Tensor, "*views batch dim"], directions: Float[Tensor, "dim slices"]) -> Float[Tensor, ""]:
    """The mean of T over directions (unit columns) and views, each view a sample of its own."""
    return epps_pulley(z @ directions).mean()


def epps_pulley(samples: Float[Tensor, "*views batch slices"]) -> Float[Tensor, "*views slices"]:
    """T of each column."""
    knots = torch.linspace(0, END, KNOTS, dtype=samples.dtype, device=samples.device)
    gaussian = (-knots.square() / 2).exp()
    angles = samples.unsqueeze(-1) * knots
    real, imaginary = angles.cos().mean(-3), angles.sin().mean(-3)
    error = (real - gaussian).square() + imaginary.square()
    half: Tensor = torch.trapezoid(error * gaussian, knots, dim=-1)
    return 2 * samples.shape[-2] * half


def slices(dim: int, count: int, seed: int) -> Float[Tensor, "dim count"]:
    """``count`` random unit vectors as columns, on the CPU: the same on every device and after a restart."""
    drawn = torch.randn(dim, count, generator=torch.Generator().manual_seed(seed))
    return normalize(drawn, dim=0)
