"""Other places to read a timm model than its classifier's input: blocks' tokens, or stages' maps."""

import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.adapters import readout_names


def readouts(model: nn.Module) -> tuple[str, ...]:
    """Names, the most promising first: the last block or stage, several of the last, then deep to shallow.

    Transformers of one stride offer ``blockN/mean``, ``blockN/cls`` where they have a class token, both together, and
    ``last4/...`` of the last four blocks; everything else ``stageN/mean``. Nothing where timm gives no intermediates.
    """
    if _has_tokens(model):
        return readout_names.of_blocks(_count(model), has_cls=getattr(model, "cls_token", None) is not None)
    return readout_names.of_stages(_count(model))


def read(model: nn.Module, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
    """One vector an image, for one of ``readouts``; tokens after the final norm, as DINOv2's evaluation takes them."""
    chosen, poolings = readout_names.places(readout, _count(model))
    if not _has_tokens(model):
        stage: Tensor = _intermediates(model, images, chosen)[0]
        return stage.mean((2, 3))
    found = _intermediates(model, images, chosen, norm=True, return_prefix_tokens=True)
    vectors = [
        prefix[:, 0] if pooling == "cls" else patches.mean((2, 3)) for patches, prefix in found for pooling in poolings
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
