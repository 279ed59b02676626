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
_PNG_BITS = 24  # the byte of a PNG that holds how many bits a pixel has


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
        stored = stored_values(self.images.read(index), self.images.names[index])
        return np.asarray(self.meaning[stored], dtype=np.uint8)


def stored_values(data: bytes, name: str) -> UInt8[np.ndarray, "height width"]:
    """The numbers a map of classes holds, as its file stores them: a palette's indices, greys of few bits unstretched.

    Raises ``UnreadableImage`` naming the file for what is no map: other channels or bits, lossy coding, damage.
    """
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > PIXEL_CAP:
            raise UnreadableImage(f"{name!r} is too large: {image.width} x {image.height} pixels")
        if image.mode not in ("L", "P", "1"):
            raise UnreadableImage(
                f"{name!r} has {image.mode} pixels; a map of classes has one channel of 8 bits (modes L and P)"
            )
        if image.format == "JPEG":
            raise UnreadableImage(f"{name!r} is a JPEG, which does not keep numbers exactly; a map of classes is a PNG")
        stored = np.array(image, dtype=np.uint8)
        if image.mode == "L" and image.format == "PNG":
            stored //= 255 // (2 ** data[_PNG_BITS] - 1)  # Pillow stretches greys of 2 and 4 bits to 0..255
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        raise UnreadableImage(f"{name!r} cannot be decoded ({type(error).__name__})") from error
    return stored
