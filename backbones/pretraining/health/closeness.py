"""How much closer two views of one image are than views of two images, on the unit sphere.

closeness = 1 - (mean over i of |z_i1 - z_i2|^2) / (mean over i != j of |z_i1 - z_j2|^2),  z of unit length
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def closeness(embeddings: Float[Tensor, "images 2 dim"]) -> float:
    """1 where the views of an image are alike, 0 where they are as far apart as any, or where all are the same.

    Raises ``ValueError`` for a single image.
    """
    images = len(embeddings)
    if images < 2:
        raise ValueError("closeness compares images with each other: at least 2 are needed, got 1")
    first, second = normalize(embeddings.double(), dim=-1).unbind(1)
    own = float((first - second).square().sum())
    # Of unit vectors a |z - z'|^2 is 2 - 2 <z, z'>, and the sum of all products is that of the sums; float64 leaves
    # 1e-12 of a pair, below which nothing is apart.
    every = 2 * images**2 - 2 * float(first.sum(0) @ second.sum(0))
    others = (every - own) / (images - 1)
    return 1 - own / others if others > 1e-12 * images else 0.0
