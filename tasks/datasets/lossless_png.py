"""Pixels as a PNG whose bytes are the same on every machine: stored, not compressed.

A content hash of compressed bytes would change with the version of zlib; these change with the pixels only.
"""

import struct
import zlib

import numpy as np
from jaxtyping import UInt8

_BLOCK = 65_535


def encode_png(pixels: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 3"]) -> bytes:
    """An 8-bit grey or RGB PNG (W3C PNG specification, third edition; RFC 1950 and 1951 for the stored blocks)."""
    height, width = pixels.shape[:2]
    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", _stored(lines.tobytes())), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    stream = [b"\x78\x01"]
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        is_last = start + _BLOCK >= len(data)
        stream += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*stream, struct.pack(">I", zlib.adler32(data))])
