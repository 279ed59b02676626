"""What cameras and files do. Ratios and qualities do not depend on the image's size; displacements are lengths."""

import io
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image

from backbones.images import decode
from tasks.datasets.corruptions.pixels import Field, Pixels, scale_of, three, to_pixels
from tasks.datasets.corruptions.smoothing import gaussian, gaussian_weights

BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to the value of HSV
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # share kept of the distance from the mean
SATURATE = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))  # factor and summand of the saturation of HSV
ELASTIC = (12.5, 16.25, 21.25, 25.0, 30.0)  # factor of a smoothed displacement
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)  # share of the sides' pixels kept
JPEG = (25, 18, 15, 10, 7)  # quality

_ELASTIC_SIGMA, _ELASTIC_REACH, _ELASTIC_TRUNCATE = 2.24, 1.12, 3.0  # 0.01 and 0.005 of 224 px; cut after 3 sigma


def brightness(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """c added to the value, hue and saturation kept: every channel grows by the factor the largest one does."""
    added = BRIGHTNESS[level - 1] * 255
    largest = _largest(image)
    grey = np.arange(256)
    factor = np.minimum(grey + added, 255) / np.maximum(grey, 1)
    factor[0] = 0
    summand = np.zeros(256)
    summand[0] = added  # black has no channel to grow
    values = three(np.take(factor.astype(np.float32), largest))
    values *= image
    if not largest.all():
        values += three(np.take(summand.astype(np.float32), largest))
    return to_pixels(values)


def saturate(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Saturation s made c s + d, hue and value kept: every channel's distance from the largest grows alike.

    Grey has no hue; as is usual it counts as red.
    """
    factor, summand = SATURATE[level - 1]
    largest = _largest(image).astype(np.float32)
    smallest = np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2]).astype(np.float32)
    saturation = (largest - smallest) / np.maximum(largest, 1)
    wanted = np.clip(saturation * np.float32(factor) + np.float32(summand), 0, 1)
    growth = wanted / np.where(saturation > 0, saturation, 1)
    away = three(largest) - image
    grey = saturation == 0
    if summand and grey.any():
        away[grey] = (largest[grey] * wanted[grey])[:, None] * np.asarray([0, 1, 1], np.float32)
        growth[grey] = 1
    away *= three(growth)
    return to_pixels(three(largest) - away)


def _largest(image: Pixels) -> UInt8[np.ndarray, "height width"]:
    """Pair by pair, which is thirty times as fast as ``image.max(2)``."""
    return np.asarray(np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2]))


def contrast(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Each channel drawn towards its mean over the image."""
    kept = CONTRAST[level - 1]
    height, width = image.shape[:2]
    lines = image.reshape(height, width * 3)
    means = lines.sum(0, dtype=np.int64).reshape(width, 3).sum(0) / (height * width)
    values = lines.astype(np.float32)
    values *= np.float32(kept)
    values += np.tile(means * (1 - kept), width).astype(np.float32)
    return to_pixels(values.reshape(image.shape))


def elastic_transform(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Pixels taken from where a smooth random displacement leads; beyond the borders the image is mirrored.

    The displacement varies as much, counted in image sides, at every size.
    """
    scale = scale_of(image)
    sigma = _ELASTIC_SIGMA * scale
    reach = _ELASTIC_REACH * ELASTIC[level - 1] * scale * _left_by(_ELASTIC_SIGMA) / _left_by(sigma)
    drawn = generator.random((2, *image.shape[:2]), dtype=np.float32) * 2 - 1
    down, right = (gaussian(part, sigma, _ELASTIC_TRUNCATE, "symmetric") * np.float32(reach) for part in drawn)
    return to_pixels(taken(image, down, right))


@lru_cache(maxsize=16)
def _left_by(sigma: float) -> float:
    """The deviation that is left of noise of deviation 1 after the smoothing of a displacement."""
    return float((gaussian_weights(sigma, _ELASTIC_TRUNCATE) ** 2).sum())


def taken(image: Pixels, down: Field, right: Field) -> Float32[np.ndarray, "height width 3"]:
    """The values at each pixel's place plus (down, right), interpolated linearly."""
    height, width = image.shape[:2]
    rows = (down + np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)) * np.float32(2 / height) - 1
    columns = (right + np.arange(width, dtype=np.float32)[None] + np.float32(0.5)) * np.float32(2 / width) - 1
    places = torch.from_numpy(np.stack([columns, rows], axis=-1))[None]
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32))[None]
    found = torch.nn.functional.grid_sample(planes, places, "bilinear", "reflection", align_corners=False)
    return np.ascontiguousarray(found[0].permute(1, 2, 0).numpy())


def pixelate(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Means over boxes, shown as boxes."""
    height, width = image.shape[:2]
    few = max(1, int(width * PIXELATE[level - 1])), max(1, int(height * PIXELATE[level - 1]))
    small = Image.fromarray(image).resize(few, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Saved as a JPEG of low quality and read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG[level - 1])
    return np.ascontiguousarray(decode(file.getvalue()).permute(1, 2, 0).numpy())
