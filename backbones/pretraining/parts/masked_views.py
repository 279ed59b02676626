"""What a vision transformer sees of views of which patches are masked: its vectors, and the masked patches' tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backbones.pretraining.encoder import TokenEncoder
from backbones.pretraining.method import View
from backbones.pretraining.parts.block_masks import block_masks
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.multi_crop import GLOBALS


class Seen(NamedTuple):
    """``vectors`` are the backbone's embeddings: class tokens, as timm's transformers pool unless told otherwise.

    ``patches`` has a row for each masked patch: image by image, view by view, in the order of the grid.
    """

    vectors: Float[Tensor, "batch views dim"]
    patches: Float[Tensor, "masked dim"]


def drawn_masks(
    views: int, grid: tuple[int, int], probability: float, ratio: tuple[float, float]
) -> Bool[Tensor, "views patches"]:
    """Of each view, with ``probability``, a share of patches uniform in ``ratio``, in blocks; else none.

    From torch's own generator on the CPU.
    """
    chosen, share = torch.rand(2, views)
    low, high = ratio
    counts = (grid[0] * grid[1] * (low + (high - low) * share)).long()
    return block_masks(grid, torch.where(chosen < probability, counts, 0), views)


def seen(
    encoder: TokenEncoder,
    views: Sequence[View],
    masks: Bool[Tensor, "batch globals patches"],
    replacement: Float[Tensor, " width"] | None = None,
) -> Seen:
    """Global views, their masked patches replaced (not without ``replacement``), and then local ones."""
    images = torch.stack([view.images for view in views[:GLOBALS]], dim=1)
    tokens = encoder.tokens(images.flatten(0, 1), replaced=masks.flatten(0, 1), replacement=replacement)
    vectors = [*encoder.pooled(tokens).view(len(masks), GLOBALS, -1).unbind(1)]
    vectors += embedded(encoder, views[GLOBALS:], together=True)
    return Seen(torch.stack(vectors, dim=1), tokens.patches[masks.flatten(0, 1)])
