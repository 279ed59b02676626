"""A light transformer that answers for patches nobody has shown it, from the tokens of those that were shown."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from timm.models.vision_transformer import Block, init_weights_vit_timm
from torch import Tensor, nn

from backbones.pretraining.parts.positions import sine_positions


class PatchDecoder(nn.Module):
    """MAE's decoder and I-JEPA's predictor: ``depth`` blocks of ``width`` over known tokens and, for each patch asked
    for, one learned mask token, all with fixed positions; ``outside`` numbers come out for a patch.

    Raises ``ValueError`` for a width that does not divide into ``heads``, or not by four.
    """

    positions: Tensor

    def __init__(self, inside: int, width: int, depth: int, heads: int, grid: tuple[int, int], outside: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a decoder of width {width} does not divide into {heads} heads")
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.enter = nn.Linear(inside, width)
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(width)
        self.leave = nn.Linear(width, outside)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", sine_positions(grid, width), persistent=False)
        self.apply(init_weights_vit_timm)

    def forward(
        self,
        prefix: Float[Tensor, "batch prefixes inside"],
        tokens: Float[Tensor, "batch kept inside"],
        at: Int64[Tensor, "batch kept"],
        wanted: Int64[Tensor, "batch wanted"],
    ) -> Float[Tensor, "batch wanted outside"]:
        """What is at the patches numbered by ``wanted``. ``tokens`` are of those numbered by ``at``; ``prefix`` has no
        positions.
        """
        known = self.enter(tokens) + self.positions[at]
        asked = self.mask_token + self.positions[wanted]
        hidden = self.blocks(torch.cat([self.enter(prefix), known, asked], dim=1))
        answers: Tensor = self.leave(self.norm(hidden[:, -wanted.shape[1] :]))
        return answers
