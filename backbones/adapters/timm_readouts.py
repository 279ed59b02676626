"""Other places to read a timm model than its classifier's input: blocks' tokens, or stages' maps."""

import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def readouts(model: nn.Module) -> tuple[str, ...]:
    """Names, the most promising first: the last block or stage, several of the last, then deep to shallow.

    Transformers of one stride offer ``blockN/mean``, ``blockN/cls`` where they have a class token, both together, and
    ``last4/...`` of the last four blocks; everything else ``stageN/mean``. Nothing where timm gives no intermediates.
    """
    count = _count(model)
    if not _has_tokens(model):
        return tuple(f"stage{stage}/mean" for stage in reversed(range(count)))
    poolings = ("cls", "mean") if getattr(model, "cls_token", None) is not None else ("mean",)
    both = (f"block{count - 1}/cls+mean",) * (len(poolings) == 2)
    several = tuple(f"last{min(4, count)}/{pooling}" for pooling in poolings)
    return (*both, *several, *(f"block{block}/{pooling}" for block in reversed(range(count)) for pooling in poolings))


def read(model: nn.Module, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
    """One vector an image, for one of ``readouts``; tokens after the final norm, as DINOv2's evaluation takes them."""
    where, _, pooling = readout.partition("/")
    number = int(where.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if where.startswith("stage"):
        stage: Tensor = _intermediates(model, images, [number])[0]
        return stage.mean((2, 3))
    count = _count(model)
    blocks = list(range(count - number, count)) if where.startswith("last") else [number]
    found = _intermediates(model, images, blocks, norm=True, return_prefix_tokens=True)
    vectors = [
        prefix[:, 0] if part == "cls" else patches.mean((2, 3))
        for patches, prefix in found
        for part in pooling.split("+")
    ]
    return torch.cat(vectors, 1)


def _intermediates(model: nn.Module, images: Tensor, indices: list[int], **options: Any) -> Any:
    return model.forward_intermediates(  # type: ignore[operator]
        images, indices=indices, intermediates_only=True, output_fmt="NCHW", **options
    )


def _count(model: nn.Module) -> int:
    information: Any = getattr(model, "feature_info", ())
    given = len(getattr(information, "info", information))
    return given if callable(getattr(model, "forward_intermediates", None)) else 0


def _has_tokens(model: nn.Module) -> bool:
    method: Any = getattr(model, "forward_intermediates", None)
    return callable(method) and "return_prefix_tokens" in inspect.signature(method).parameters
