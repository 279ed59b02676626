"""The encoder's vectors of several views."""

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.pretraining.method import View


def embedded(encoder: nn.Module, views: Sequence[View], together: bool) -> list[Float[Tensor, "batch dim"]]:
    """One tensor a view. ``together``: neighbouring views of one size go through as one batch, as SimCLR, SwAV and DINO
    do; else each goes alone, as in BYOL, SimSiam and VICReg. BatchNorm tells the two apart; where there is none, each
    goes alone on the CPU in any case, which is faster.
    """
    on_cpu = all(view.images.device.type == "cpu" for view in views)
    if not together or (on_cpu and not _mixes(encoder)):
        return [encoder(view.images) for view in views]
    vectors: list[Tensor] = []
    for _, alike in groupby((view.images for view in views), key=lambda images: images.shape):
        batches = list(alike)
        vectors += encoder(torch.cat(batches)).chunk(len(batches))
    return vectors


def _mixes(encoder: nn.Module) -> bool:
    """Whether an image's vector depends on its batch.

    DINO's step with a ViT-Ti, two views of 64 images, 2 threads: 3,053 ms with one batch and 2,906 with two, for the
    allocator gives memory of twice the size back to the system and gets it anew (113,000 pages a step, and 39,000).
    """
    return any(isinstance(module, _BatchNorm) for module in encoder.modules())
