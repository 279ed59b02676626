"""How far two answers to one image are apart."""

from jaxtyping import Float32
from torch import Tensor


def consistency(a: Float32[Tensor, "images classes"], b: Float32[Tensor, "images classes"]) -> Float32[Tensor, ""]:
    """C(a, b): the mean over images and classes of (softmax a - softmax b)^2, with gradients to both logits."""
    return (a.softmax(1) - b.softmax(1)).square().mean()
