"""The class of every pixel: images of class numbers, and the classes they stand for."""

import hashlib
import io
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from backbones.images import PIXEL_CAP, Images, UnreadableImage

VOID = 255
"""The class of pixels that are of none: not learnt from and not counted."""


@dataclass(frozen=True)
class LabelMaps:
    """A map for each image of a split, in its order. ``meaning[v]`` is the class of a pixel stored as v, or VOID.

    Maps are stored as 8-bit images of one channel: a palette's colours mean nothing, its indices do.
    """

    images: Images = field(repr=False)
    meaning: UInt8[np.ndarray, "256"] = field(repr=False)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the maps' contents and what their values mean."""
        return hashlib.sha256(self.images.identity.encode() + self.meaning.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """The class of each pixel of one image. Raises ``UnreadableImage`` naming a map that is none."""
        stored = _stored(self.images.read(index), self.images.names[index])
        return np.asarray(self.meaning[stored], dtype=np.uint8)


def _stored(data: bytes, name: str) -> UInt8[np.ndarray, "height width"]:
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > PIXEL_CAP:
            raise UnreadableImage(f"{name!r} is too large: {image.width} x {image.height} pixels")
        if image.mode not in ("L", "P", "1"):
            raise UnreadableImage(
                f"{name!r} has {image.mode} pixels; a map of classes has one channel of 8 bits (modes L and P)"
            )
        stored = np.array(image.convert("L") if image.mode == "1" else image, dtype=np.uint8)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        raise UnreadableImage(f"{name!r} cannot be decoded ({type(error).__name__})") from error
    return stored
