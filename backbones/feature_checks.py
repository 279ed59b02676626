"""What a backbone's outputs must be before they may be kept: the contract's shape, finite, and not all the same."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

COLLAPSED_STD = 1e-4
"""Features whose standard deviation over images is below this share of their root mean square say nothing."""


def check_contract(outputs: object, rows: int, name: str, method: str) -> Float[Tensor, "batch dim"]:
    """The outputs themselves when they are a floating (rows, dim) matrix; else an error naming the contract."""
    contract = f"Backbone.{method} must return a floating-point tensor of shape (batch, dim), here ({rows}, dim)"
    if not isinstance(outputs, Tensor):
        raise TypeError(f"{contract}; {name} returned a {type(outputs).__name__}")
    if outputs.ndim != 2 or outputs.shape[0] != rows or outputs.shape[1] == 0:
        raise ValueError(f"{contract}; {name} returned {tuple(outputs.shape)}")
    if not outputs.is_floating_point():
        raise TypeError(f"{contract}; {name} returned {outputs.dtype}")
    return outputs


def check_finite(values: NDArray[Any], names: Sequence[str], backbone: str, what: str = "images") -> None:
    """Raise ``FloatingPointError`` naming the first row with a NaN or an infinity, and how many there are."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise FloatingPointError(
            f"{backbone}: NaN or infinite features for {len(bad)} of {len(values)} {what}, the first "
            f"{names[bad[0]]!r}; nothing was cached"
            + (" (float16 ends at 65504: try --storage float32)" if values.dtype == np.float16 else "")
        )


def is_collapsed(blocks: Iterable[NDArray[Any]]) -> bool:
    """Whether the rows are, up to :data:`COLLAPSED_STD`, all the same. One row alone is not.

    >>> is_collapsed([np.ones((4, 8)), np.ones((4, 8))]), is_collapsed([np.eye(4)]), is_collapsed([np.zeros((2, 3))])
    (True, False, True)
    """
    rows, shift = 0, None
    total = square = raw_square = np.float64(0)
    for part in (block[start : start + 64] for block in blocks for start in range(0, len(block), 64)):
        values = part.astype(np.float64)
        shift = values[0].copy() if shift is None else shift  # variance about a row: no cancellation when all are alike
        raw_square = raw_square + (values**2).sum()
        values -= shift
        rows += len(values)
        total, square = total + values.sum(axis=0), square + (values**2).sum(axis=0)
    if rows < 2:
        return False
    variance = np.maximum(square / rows - (total / rows) ** 2, 0).mean()
    return math.sqrt(variance) <= COLLAPSED_STD * math.sqrt(raw_square / (rows * np.size(total)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help. The CPU allocator has no exception type of its own."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )
