"""The nineteen corruptions of ImageNet-C by name, and how an image is given to one (Hendrycks and Dietterich, 2019).

Strengths are the published ones for 224 px. In images of other sizes lengths (radii, deviations and displacements in
pixels, grains, drops) grow with the shorter side, so that a picture is corrupted as its 224 px version would be, and
amplitudes (noise, light, contrast, ratios, JPEG quality) stay. Sides under 32 px count as 32. CIFAR-10-C was made
otherwise, with strengths tuned by hand for 32 px: its own files, not these functions, give its numbers.
"""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from backbones.plugins import unknown
from tasks.datasets.corruptions import blur, digital, noise, weather
from tasks.datasets.corruptions.pixels import Pixels

VERSION = 1
"""Of all the functions together; counted up whenever any of them gives other pixels."""
LEVELS = (1, 2, 3, 4, 5)

Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]
"""``corruption(image, level, generator)``: new pixels of the same shape. The image is never written to."""

STANDARD: Mapping[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
"""The fifteen that count in the mean corruption error."""
EXTRA: Mapping[str, Corruption] = {
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": digital.saturate,
}
"""The four that the authors meant for choosing methods by, and that never count."""
CORRUPTIONS: Mapping[str, Corruption] = {**STANDARD, **EXTRA}


def corrupt(image: Pixels, name: str, level: int, seed: int, content: str) -> Pixels:
    """The corruption of that name and level (1 to 5) of an image; ``content`` is the hash of its encoded bytes.

    A pure function: what is drawn follows from seed, name, level and content, so never from an image's place in a set.
    Raises ``ValueError`` naming the choices for an unknown name or level.
    """
    if name not in CORRUPTIONS:
        raise unknown("corruption", name, CORRUPTIONS)
    if level not in LEVELS:
        raise ValueError(f"corruption level {level!r}; there are: {', '.join(map(str, LEVELS))}")
    digest = hashlib.sha256(f"{seed} {name} {level} {content}".encode()).digest()
    generator = np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big")))
    return CORRUPTIONS[name](image, level, generator)
