"""A queue of vectors: the newest take the places of the oldest."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import normalize

from backbones.training.trainee import Whole


class Queue(Whole):
    """``size`` vectors (or several of an image, of one shape) without gradients, at first random ones of unit length.

    ``added`` counts what was put in since.
    """

    added: Int64[Tensor, ""]

    def __init__(self, size: int, *shape: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(normalize(torch.randn(size, *shape), dim=-1), requires_grad=False)
        self.register_buffer("added", torch.zeros((), dtype=torch.int64))

    @property
    def full(self) -> bool:
        """Whether no random ones are left."""
        return bool(self.added >= len(self.vectors))

    @torch.no_grad()
    def add(self, newest: Float[Tensor, "count ..."]) -> None:
        """In their order; of more than there are places the last."""
        size = len(self.vectors)
        places = (self.added + torch.arange(len(newest), device=newest.device)) % size
        self.vectors[places[-size:]] = newest[-size:]
        self.added += len(newest)

    @torch.no_grad()
    def nearest(self, vectors: Float[Tensor, "count dim"]) -> Float[Tensor, "count dim"]:
        """For each of these the vector in the queue of the largest inner product."""
        return self.vectors[(vectors @ self.vectors.T).argmax(1)]
