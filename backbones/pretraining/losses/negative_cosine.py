"""Negative cosine similarity: SimSiam's loss, and BYOL's up to a constant and a factor (2 - 2 cos)."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def negative_cosine(
    predictions: Float[Tensor, "*items dim"], targets: Float[Tensor, "*items dim"]
) -> Float[Tensor, ""]:
    """The mean over items of -<p, z> / (|p| |z|). It lets the gradient through to both."""
    return -(normalize(predictions, dim=-1) * normalize(targets, dim=-1)).sum(-1).mean()
