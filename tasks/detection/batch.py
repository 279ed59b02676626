"""What passes between the data and a detector: a batch with its truths, and what is found in it."""

from typing import NamedTuple

from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor


class Truth(NamedTuple):
    """What a detector is to find in one image: crowds are left out, and there may be nothing.

    ``boxes`` are left, top, right, bottom in pixels of the batch's images; ``labels`` count from 0; ``masks`` (0 or 1)
    have the padded image's size. None where the data have no outlines.
    """

    boxes: Float32[Tensor, "n 4"]
    labels: Int64[Tensor, " n"]
    masks: UInt8[Tensor, "n height width"] | None


class DetectionBatch(NamedTuple):
    """Images, normalised as their backbone wants them, and what is in each.

    They are padded with zeros on the right and below, to a multiple of 32 or to a fixed square; ``sizes`` are the
    (height, width) of each without that padding.
    """

    images: Float[Tensor, "batch 3 height width"]
    sizes: tuple[tuple[int, int], ...]
    truths: tuple[Truth, ...]
    names: tuple[str, ...]


class Detections(NamedTuple):
    """What was found in one image, best first, in pixels of the batch's images.

    ``scores`` lie in 0..1 and ``labels`` count from 0; ``masks`` are probabilities on a grid inside each box.
    """

    boxes: Float32[Tensor, "n 4"]
    scores: Float32[Tensor, " n"]
    labels: Int64[Tensor, " n"]
    masks: Float32[Tensor, "n side side"] | None
