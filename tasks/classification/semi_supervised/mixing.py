"""Mixup (1710.09412) whose larger share is each image's own, and the loss of what is mixed."""

import numpy as np
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from backbones.training.mixing import neighbours


def own_share(draws: np.random.Generator, alpha: float, least: float = 0.5) -> float:
    """lambda ~ Beta(alpha, alpha), then max(lambda, 1 - lambda), then at least ``least``."""
    share = float(draws.beta(alpha, alpha))
    return max(share, 1 - share, least)


def mixed_cross_entropy(
    logits: Float32[Tensor, "batch classes"], labels: Int64[Tensor, " batch"], share: float
) -> Float32[Tensor, ""]:
    """share CE(f(x_mix), y_i) + (1 - share) CE(f(x_mix), y_pi(i)), pi the neighbour."""
    return share * cross_entropy(logits, labels) + (1 - share) * cross_entropy(logits, neighbours(labels))
