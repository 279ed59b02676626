"""The fixed images a backbone is certified on: drawn from a seed, of several sizes, one of them grey."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

SIZES = ((300, 224), (224, 300), (256, 256), (97, 61), (640, 480), (33, 45))
"""Width and height. The second last is reduced by most backbones, the last two sides are odd and enlarged."""


def specimens() -> Iterator[Image.Image]:
    """RGB images, always the same.

    >>> [image.size for image in specimens()][:2]
    [(300, 224), (224, 300)]
    """
    generator = np.random.default_rng(20231025)
    for number, (width, height) in enumerate(SIZES):
        pixels = np.zeros((height, width, 3))
        for cells, strength in ((4, 150), (16, 70), (48, 30)):  # large shapes, parts, texture
            noise = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            pixels += (np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / 255 - 0.5) * strength
        pixels = pixels + 110 + np.array([20.0, 0, -15]) + generator.normal(0, 4, pixels.shape)
        if number == 2:
            pixels = np.repeat(pixels.mean(2, keepdims=True), 3, axis=2)
        yield Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
