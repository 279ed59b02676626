"""The features of a part, checked before anything is computed from them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.inference import Layer
from tasks.base import Extract, Note
from tasks.datasets.partition import Part

COLLAPSED_STD = 1e-4
"""Of features scaled to length one. Constant features through float16 stay below it; no useful encoder comes near."""


def features_of(
    backbone: Backbone, part: Part, extract: Extract, layer: Layer = "pooled"
) -> Float32[np.ndarray, "n dim"]:
    """One row an image of the part, float32. Raises ``FloatingPointError`` naming the first image with a NaN or Inf."""
    whole: NDArray[Any] = extract(backbone, part.images, layer)
    rows = np.asarray(whole[part.rows], dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(bad):
        raise FloatingPointError(
            f"the {layer} features of {len(bad)} of {len(rows)} images hold NaN or infinity "
            f"(first: {part.names[bad[0]]!r}); no metric is computed from them"
        )
    return rows


def normalised(features: Float[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """Rows scaled to length one; a row of zeros stays zero, so that it is equally near to everything."""
    # Dividing by the largest entry first keeps the squares of huge or tiny features within float32.
    largest = np.abs(features).max(1, keepdims=True, initial=0.0)
    scaled = features / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)


def collapse_notes(features: Float[np.ndarray, "n dim"], where: str) -> Iterator[Note]:
    """A warning where all images have nearly the same features, which makes every metric mere chance."""
    spread = float(normalised(features).std(0).max(initial=0.0))
    if spread < COLLAPSED_STD:
        yield Note("collapsed", f"the {where} features hardly vary (largest std {spread:.1e} at unit length)", True)
