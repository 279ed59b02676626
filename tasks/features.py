"""The features of a part, checked before anything is computed from them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.inference import Layer
from tasks.base import Extract, Note
from tasks.datasets.partition import Part
from tasks.moments import moments
from tasks.rows import Rows, blocks_of

COLLAPSED_STD = 1e-4
"""Of features scaled to length one. Constant features through float16 stay below it; no useful encoder comes near."""


def features_of(
    backbone: Backbone, part: Part, extract: Extract, layer: Layer = "pooled"
) -> Float32[np.ndarray, "n dim"]:
    """One row an image of the part, float32. Raises ``FloatingPointError`` naming the first image with a NaN or Inf.

    Where the part is a whole split and its features are kept in float32 nothing is copied: what comes back is the
    memory-mapped file itself, which nobody can write to. For less than that, or float16, it is a copy in memory.
    """
    whole: NDArray[Any] = np.asarray(extract(backbone, part.images, layer))
    every = len(part.rows) == len(whole) and bool((part.rows == np.arange(len(whole))).all())
    rows = np.asarray(whole if every else whole[part.rows], dtype=np.float32).view()
    rows.flags.writeable = False
    _check_finite(blocks_of(rows), part.names, layer)
    return rows


def rows_of(backbone: Backbone, part: Part, extract: Extract, layer: Layer = "pooled") -> Rows:
    """The same, checked in the same way, left on disk to be read a batch at a time."""
    rows = Rows(((np.asarray(extract(backbone, part.images, layer)), part.rows),))
    _check_finite(rows.blocks(), part.names, layer)
    return rows


def _check_finite(blocks: Iterable[NDArray[Any]], names: Sequence[str], layer: Layer) -> None:
    bad = np.flatnonzero(~np.concatenate([np.isfinite(block).all(1) for block in blocks]))
    if len(bad):
        raise FloatingPointError(
            f"the {layer} features of {len(bad)} of {len(names)} images hold NaN or infinity "
            f"(first: {names[bad[0]]!r}); no metric is computed from them"
        )


def normalised(features: Float[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """Rows scaled to length one; a row of zeros stays zero, so that it is equally near to everything."""
    # Dividing by the largest entry first keeps the squares of huge or tiny features within float32.
    largest = np.abs(features).max(1, keepdims=True, initial=0.0)
    scaled = features / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)


def collapse_notes(features: Float[np.ndarray, "n dim"] | Rows, where: str) -> Iterator[Note]:
    """A warning where all images have nearly the same features, which makes every metric mere chance."""
    blocks = features.blocks() if isinstance(features, Rows) else blocks_of(features)
    spread = float(moments(normalised(block) for block in blocks).std.max(initial=0.0))
    if spread < COLLAPSED_STD:
        yield Note("collapsed", f"the {where} features hardly vary (largest std {spread:.1e} at unit length)", True)
