"""RankMe (Garrido et al. 2023, arXiv 2210.02885): how many directions a set of embeddings uses.

    p_k = sigma_k / sum_j sigma_j,  sigma the singular values of the n x d matrix, not centred
    RankMe = exp( - sum_k p_k log p_k )

Deviations: what keeps the paper's logarithm finite (1e-7 added to p) is left out, since 0 log 0 = 0.
"""

from jaxtyping import Float
from torch import Tensor

from backbones.feature_health import effective_rank


def rank_me(embeddings: Float[Tensor, "images dim"]) -> float:
    """From 1 (all the same up to a factor) to min(images, dim); 0 where all are zero.

    >>> import torch
    >>> round(rank_me(torch.eye(3)), 6), round(rank_me(torch.ones(4, 3)), 6)
    (3.0, 1.0)
    """
    return effective_rank(embeddings.double().cpu().numpy(), centred=False)
