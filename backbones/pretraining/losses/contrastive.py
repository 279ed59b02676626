"""Losses that attract two views of an image and repel other images (InfoNCE and its kin).

z1, z2: unit vectors of two views of B images, (B, dim). s(a, b) = <a, b> / tau. For anchor i of view k, k' the other:

    positive  s_i   = s(z_i^k, z_i^k')
    negatives N_i^k = sum over j != i, l in {1, 2} of exp s(z_i^k, z_j^l)            2 (B - 1) terms
"""

import torch
from jaxtyping import Float
from torch import Tensor


def info_nce(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """NT-Xent of SimCLR (Chen et al. 2020, 2002.05709): the mean over 2B anchors of -s + log(exp s + N).

    Raises ``ValueError`` for a single image, which has no negatives.
    """
    positives, negatives = similarities(first, second, temperature)
    return (torch.logaddexp(positives, negatives) - positives).mean()


def similarities(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], temperature: float
) -> tuple[Float[Tensor, " anchors"], Float[Tensor, " anchors"]]:
    """s and log N of all 2B anchors, those of the first view before those of the second."""
    count = len(first)
    if count < 2:
        raise ValueError("a contrastive loss needs at least 2 images in a batch: a single one has no negatives")
    both = torch.cat([first, second])
    logits = both @ both.T / temperature
    positives = torch.cat([logits.diagonal(count), logits.diagonal(-count)])
    own = torch.arange(2 * count, device=both.device) % count
    negatives = logits.masked_fill(own[:, None] == own, -torch.inf).logsumexp(1)
    return positives, negatives
