"""The encoder's vectors of several views."""

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.pretraining.method import View


def embedded(encoder: nn.Module, views: Sequence[View], together: bool) -> list[Float[Tensor, "batch dim"]]:
    """One tensor a view. ``together``: neighbouring views of one size go through as one batch, as SimCLR, SwAV and DINO
    do; else each goes alone, as in BYOL, SimSiam and VICReg. BatchNorm tells the two apart.
    """
    if not together:
        return [encoder(view.images) for view in views]
    vectors: list[Tensor] = []
    for _, alike in groupby((view.images for view in views), key=lambda images: images.shape):
        batches = list(alike)
        vectors += encoder(torch.cat(batches)).chunk(len(batches))
    return vectors
