"""Soft assignments that use all prototypes alike (Cuturi 2013, 1306.0895), as SwAV makes its targets."""

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.pretraining.parts.gather import gathered


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "samples prototypes"], epsilon: float, iterations: int, shared: bool = False
) -> Float[Tensor, "samples prototypes"]:
    """A distribution over prototypes for each sample, from exp(scores / epsilon) scaled by turns.

    An iteration scales every prototype to the same mass and then every sample to mass 1. Samples so always are exact;
    prototypes' masses come nearer to equal with each one (three, SwAV's, leave some way). In logarithms, so no score
    overflows. With ``shared`` these samples are a device's share, of any size, and masses are those over all devices.
    """
    logs = scores / epsilon
    for _ in range(iterations):
        masses = logs.logsumexp(0, keepdim=True)
        logs = logs - (gathered(masses).logsumexp(0, keepdim=True) if shared else masses)
        logs = logs.log_softmax(1)
    return logs.softmax(1)
