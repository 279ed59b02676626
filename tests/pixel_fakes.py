"""Images and maps of classes written for tests."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG", palette: bool = False) -> bytes:
    """The bytes of an image file; with ``palette`` its values are indices of colours that mean nothing."""
    image = Image.fromarray(pixels)
    if palette:
        image = Image.fromarray(pixels, mode="L").convert("P")
        image.putdata(pixels.reshape(-1).tolist())
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def picture(seed: int, height: int = 6, width: int = 5) -> bytes:
    """A PNG of noise."""
    return encoded(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def class_map(seed: int, values: Sequence[int], height: int = 6, width: int = 5) -> NDArray[np.uint8]:
    """A map of noise of these values, every one of them there."""
    generator = np.random.default_rng(seed)
    flat = generator.choice(np.asarray(values, dtype=np.uint8), height * width)
    flat[: len(values)] = values
    return generator.permutation(flat).reshape(height, width)


def write(root: Path, files: dict[str, bytes | str]) -> Path:
    """Files below ``root``, by name."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root
