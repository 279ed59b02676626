"""Prompts through a text tower, where the backbone is, in batches that fit."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import Backbone, TextEncoder, freeze
from backbones.feature_checks import check_contract, is_out_of_memory

BATCH_SIZE = 128
"""Prompts at a time. Blocks of the cache are filled by whole batches of it, but for the last of each."""


def text_features(
    backbone: Backbone, prompts: Sequence[str], precision: Literal["float32", "bfloat16", "float16"] = "float32"
) -> NDArray[np.float32]:
    """The (n, dim) vectors of a text tower where the backbone is, in float32, not normalised; nothing is cached.

    Raises ``TypeError`` for a backbone without a text tower, ``TypeError`` or ``ValueError`` for outputs that break
    the contract.
    """
    freeze(backbone)
    batches = [prompts[start : start + BATCH_SIZE] for start in range(0, len(prompts), BATCH_SIZE)]
    return np.concatenate([_batch(backbone, batch, getattr(torch, precision)) for batch in batches])


def encoder_of(backbone: Backbone) -> TextEncoder:
    """The backbone, as one that embeds text. Raises ``TypeError`` naming it where it has no text tower."""
    if not isinstance(backbone, TextEncoder):
        raise TypeError(f"{backbone.card.name} has no text tower, so there is nothing to embed prompts with")
    return backbone


def _batch(backbone: Backbone, prompts: Sequence[str], dtype: torch.dtype) -> NDArray[np.float32]:
    """One forward pass; out of memory, two of half the prompts."""
    parameter = next(backbone.parameters(), None)
    device = "cpu" if parameter is None else parameter.device.type
    try:
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            outputs = encoder_of(backbone).embed_text(prompts)
        rows: NDArray[np.float32] = (
            check_contract(outputs, len(prompts), backbone.card.name, "embed_text").float().cpu().numpy()
        )
        return rows
    except (RuntimeError, MemoryError) as error:
        if len(prompts) == 1 or not is_out_of_memory(error):
            raise
    if device == "cuda":
        torch.cuda.empty_cache()
    half = len(prompts) // 2
    return np.concatenate([_batch(backbone, part, dtype) for part in (prompts[:half], prompts[half:])])
