"""Losses that attract two views of an image and repel other images (InfoNCE and its kin).

z1, z2: unit vectors of two views of B images, (B, dim). s(a, b) = <a, b> / tau. For anchor i of view k, k' the other:

    positive  s_i   = s(z_i^k, z_i^k')
    negatives N_i^k = sum over j != i, l in {1, 2} of exp s(z_i^k, z_j^l)            2 (B - 1) terms

Queries q and keys k, one of each an image: s_i = s(q_i, k_i), N_i = sum over j != i of exp s(q_i, k_j).

All raise ``ValueError`` for a single image, which has no negatives.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def info_nce(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """NT-Xent of SimCLR (Chen et al. 2020, 2002.05709): the mean over 2B anchors of -s + log(exp s + N)."""
    positives, negatives = similarities(first, second, temperature)
    return (torch.logaddexp(positives, negatives) - positives).mean()


def dcl(first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], temperature: float) -> Float[Tensor, ""]:
    """Decoupled (Yeh et al. 2021, 2110.06848): the mean over 2B anchors of -s + log N, no positive in the denominator.

    To the anchor, InfoNCE has this gradient times N / (exp s + N), which vanishes where the positive is easy.
    """
    positives, negatives = similarities(first, second, temperature)
    return (negatives - positives).mean()


def dclw(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], temperature: float, sigma: float
) -> Float[Tensor, ""]:
    """Decoupled and weighted: the mean over 2B anchors of -w s + log N, w of :func:`pair_weights`."""
    positives, negatives = similarities(first, second, temperature)
    return (negatives - pair_weights(first, second, sigma).repeat(2) * positives).mean()


@torch.no_grad()
def pair_weights(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], sigma: float
) -> Float[Tensor, " batch"]:
    """DCLW's w_i = 2 - B softmax over the batch of <z_i^1, z_i^2> / sigma: more for pairs that are apart.

    Their mean is 1, no gradient goes through them, and that of a pair much closer than all others is negative.
    """
    closeness = (first * second).sum(1) / sigma
    return 2 - len(first) * closeness.softmax(0)


def query_key(
    queries: Float[Tensor, "batch dim"], keys: Float[Tensor, "batch dim"], temperature: float, decoupled: bool = False
) -> Float[Tensor, ""]:
    """InfoNCE of MoCo v3 and NNCLR, the mean over queries of -s + log(exp s + N); ``decoupled``: of -s + log N."""
    _check_negatives(len(queries))
    logits = queries @ keys.T / temperature
    positives = logits.diagonal()
    if decoupled:
        logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -torch.inf)
    return (logits.logsumexp(1) - positives).mean()


def similarities(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], temperature: float
) -> tuple[Float[Tensor, " anchors"], Float[Tensor, " anchors"]]:
    """s and log N of all 2B anchors, those of the first view before those of the second."""
    count = len(first)
    _check_negatives(count)
    both = torch.cat([first, second])
    logits = both @ both.T / temperature
    positives = torch.cat([logits.diagonal(count), logits.diagonal(-count)])
    own = torch.arange(2 * count, device=both.device) % count
    negatives = logits.masked_fill(own[:, None] == own, -torch.inf).logsumexp(1)
    return positives, negatives


def _check_negatives(images: int) -> None:
    if images < 2:
        raise ValueError("a contrastive loss needs at least 2 images in a batch: a single one has no negatives")
