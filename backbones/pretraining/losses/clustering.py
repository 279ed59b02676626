"""Losses that predict which cluster an image belongs to, seen in another view or an epoch ago.

Scores are <z, c>, views' unit vectors z against prototypes or centroids c of unit length.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

UNKNOWN = -1
"""The cluster of an image that no clustering has seen."""


def swapped_prediction(
    scores: Float[Tensor, "batch views prototypes"], codes: Float[Tensor, "batch coded prototypes"], temperature: float
) -> Float[Tensor, ""]:
    """SwAV (Caron et al. 2020, 2006.09882): each coded view's assignment q is predicted from every other view.

        L = mean over coded views a, other views v and images of  CE(q_a, softmax(scores_v / T))

    ``codes`` are of the first views, in their order.
    """
    predictions = (scores / temperature).log_softmax(-1)
    entropies = -torch.einsum("nak,nvk->av", codes, predictions) / len(scores)
    coded, views = entropies.shape
    others = ~torch.eye(coded, views, dtype=torch.bool, device=scores.device)
    return entropies[others].mean()


def cluster_prediction(
    scores: Float[Tensor, "batch views clusters"], clusters: Int64[Tensor, " batch"], temperature: float
) -> Float[Tensor, ""]:
    """DeepCluster-v2: every view predicts its image's cluster, CE(cluster, softmax(scores / T)).

    The mean over views and images, but for those of ``UNKNOWN`` cluster; 0 where that is all of them.
    """
    targets = clusters.repeat_interleave(scores.shape[1])
    total = cross_entropy(scores.flatten(0, 1) / temperature, targets, ignore_index=UNKNOWN, reduction="sum")
    return total / (targets != UNKNOWN).sum().clamp(min=1)
