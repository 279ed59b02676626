"""An image is its encoded bytes: the source contract, and the one way bytes become RGB."""

import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

PIXEL_CAP = 80_000_000
"""The most pixels an image may declare; below the 89 million at which Pillow itself begins to warn of bombs."""

_UNCHANGED, _RGB = 0, 3
"""The values of torchvision.io.ImageReadMode."""
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_PNG_GREY = 0  # the colour type of grey without alpha
_APP1, _START_OF_SCAN = 0xE1, 0xDA
_PLAIN_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive Huffman
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}  # these three are tables, not frames
_END_OF_IMAGE = b"\xff\xd9"


@runtime_checkable
class Images(Protocol):
    """An ordered set of encoded images (JPEG, PNG, ...), whatever holds them."""

    @property
    def identity(self) -> str:
        """Hash of the images' contents in order: the same identity means the same pixels, row by row."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """A name for each image, for messages."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image. May be called from several threads and processes at once."""
        ...


class UnreadableImage(ValueError):  # noqa: N818 - it says what the image is
    """These bytes are no image that has defined RGB pixels; the message is the reason, without the image's name."""


def decode(data: bytes) -> UInt8[Tensor, "3 height width"]:
    """The one way encoded bytes become RGB pixels (channels innermost in memory).

    - EXIF orientation is applied; EXIF that cannot be parsed counts as none.
    - Grey is repeated over R, G, B. CMYK is converted as Pillow does, Adobe's inverted kind included.
    - 16 bits become 8 by ``round(value / 257)``, so that 65535 is 255; nothing is clipped.
    - Palettes are looked up; alpha is composited over white.
    - Of an animation the first frame is taken.

    Raises ``UnreadableImage`` for what is empty, cut short, no image, over :data:`PIXEL_CAP` (found in the header,
    before any pixel is decoded), or without a defined range (float and 32-bit pixels).
    """
    try:
        if data.startswith(b"\xff\xd8"):
            frame = _jpeg_frame(data)
            if frame is not None:
                _check_size(*frame)
                if operator := torchvision_decoder("jpeg"):
                    return operator(_tensor_of(data), _RGB, False)
        return _decode_with_pillow(data)
    except UnreadableImage:
        raise
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        raise UnreadableImage(f"cannot be decoded ({type(error).__name__}: {_first_line(error)})") from error


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) of what :func:`decode` makes of these bytes, from their header alone where that suffices.

    Raises ``UnreadableImage`` as it does, but for pixels that are damaged below a sound header.
    """
    try:
        with _open(data) as image:
            _check_size(*image.size)
            width, height = image.size
            return (width, height) if _orientation(image) in _SIDEWAYS else (height, width)
    except UnreadableImage:
        raise
    except Exception:  # a header that only the decoders understand, or nobody
        pixels = decode(data)
        return (pixels.shape[1], pixels.shape[2])


def decode_row(images: Images, row: int) -> UInt8[Tensor, "3 height width"]:
    """:func:`decode` of one of ``images``; ``UnreadableImage`` begins with its name."""
    try:
        return decode(images.read(row))
    except UnreadableImage as error:
        raise UnreadableImage(f"{images.names[row]!r} {error}") from error


@cache
def torchvision_decoder(kind: Literal["jpeg", "png"]) -> Callable[[Tensor, int, bool], Tensor] | None:
    """torchvision's operator ``(bytes, mode, apply EXIF)``, or None where it is not there or does not work as known.

    The operator, not ``torchvision.io.decode_jpeg``: from 0.29 on that warns at every image that it will go, and with
    warnings as errors no JPEG could be read. Its successor TorchCodec would be one more compiled dependency, so without
    the operator Pillow decodes: the same pixels in 1.3 times the time (0.89 ms for 0.70, 500 x 375, one thread).
    """
    probe = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(probe, kind)
    try:
        import torchvision.io  # noqa: F401 - registers the operators

        operator: Callable[[Tensor, int, bool], Tensor] = getattr(torch.ops.image, f"decode_{kind}")
        white = operator(_tensor_of(probe.getvalue()), _RGB, False)
    except (ImportError, AttributeError, RuntimeError, TypeError):
        return None
    return operator if torch.equal(white, torch.full((3, 8, 8), 255, dtype=torch.uint8)) else None


def to_pil(image: UInt8[Tensor, "3 height width"]) -> Image.Image:
    """The same pixels as a PIL image."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def _jpeg_frame(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG libjpeg may decode straight to RGB, or None where Pillow has to look at it.

    Plain means 8 bits, one or three components, no APP1 segment (EXIF and XMP may hold an orientation). Raises
    ``UnreadableImage`` when no end-of-image marker follows the frame: entropy-coded data cannot contain one, so
    the file was cut short, and libjpeg would fill the missing part with grey.
    """
    position, plain = 2, True
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _PLAIN_FRAMES or marker in _OTHER_FRAMES:
            if data.rfind(_END_OF_IMAGE, position) < 0:
                raise UnreadableImage("is a JPEG cut short (it has no end-of-image marker)")
            height, width = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))
            plain = plain and marker in _PLAIN_FRAMES and data[position + 4] == 8 and data[position + 9] in (1, 3)
            return (width, height) if plain else None
        if marker == _START_OF_SCAN:
            return None
        plain = plain and marker != _APP1
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise UnreadableImage("is a JPEG cut short (it ends inside its header)")


def _decode_with_pillow(data: bytes) -> UInt8[Tensor, "3 height width"]:
    image = _open(data)
    _check_size(*image.size)
    turn = _TURNS.get(_orientation(image))
    if image.format == "PNG" and data[24] == 16 and data[25] != _PNG_GREY:
        image = _sixteen_bit_png(data)  # Pillow drops the low byte, which is value / 256
    else:
        image.load()
        image = _to_rgb(image)
    if turn is not None:
        image = image.transpose(turn)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImage("is empty (0 bytes)")
    start = data[:256].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head")):
        raise UnreadableImage("is an HTML page, not an image")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise UnreadableImage(f"is in no known image format (it begins with {data[:8]!r})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(f"is too large: {error}; at most {PIXEL_CAP:,} pixels are decoded") from None


def _check_size(width: int, height: int) -> None:
    if width * height > PIXEL_CAP:
        raise UnreadableImage(f"is too large: {width} x {height} pixels; at most {PIXEL_CAP:,} pixels are decoded")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises whatever its parser stumbles over
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _from_16_bits(np.asarray(image)[None].astype(np.int64), image.mode)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), with_alpha).convert("RGB")
    return image.convert("RGB")


def _sixteen_bit_png(data: bytes) -> Image.Image:
    if (operator := torchvision_decoder("png")) is None:
        raise UnreadableImage(
            "is a PNG of 16 bits with colour or alpha, which only torchvision's decoder reads and this torchvision "
            "lacks it; save it with 8 bits, or install torchvision from its own wheels"
        )
    return _from_16_bits(operator(_tensor_of(data), _UNCHANGED, False).numpy().astype(np.int64), "I;16")


def _from_16_bits(values: NDArray[np.int64], mode: str) -> Image.Image:
    """(channels, height, width) of 1 to 4 channels, grey or RGB with or without alpha, each in [0, 65535]."""
    if mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(f"has {mode!r} pixels (32 bits), whose range is not defined; save it with 8 or 16 bits")
    if len(values) in (2, 4):
        alpha = values[-1:]
        values = (values[:-1] * alpha + 65535 * (65535 - alpha) + 32767) // 65535
    eight = ((values + 128) // 257).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(eight, (3, *eight.shape[1:])).transpose(1, 2, 0)))


def _tensor_of(data: bytes) -> UInt8[Tensor, " bytes"]:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy: torch warns of memory it may not write to


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
