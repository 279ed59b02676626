"""From decoded RGB to the backbone's input: the library's own way on PIL images, and a faster way held against it."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode, v2

from backbones.base import Interpolation, Preprocess
from backbones.images import to_pil

Path = Literal["fast", "pil"]
Fit = Callable[[UInt8[Tensor, "3 height width"]], UInt8[Tensor, "3 out_height out_width"]]
"""Resize and crop one decoded image to the backbone's size; still 8 bits, so that normalising is one pass a batch."""

MEAN_TOLERANCE = 0.5
"""Largest mean difference of the fast path from PIL, in grey levels (of 255), before normalisation."""
LARGEST_TOLERANCE = 3
"""Largest difference at any one pixel, likewise. Measured: 1 (bilinear), 2 (bicubic); on noise, squashed, up to 18."""
CENTRED = ("center", "center_floor")
"""Ways to fit that resize the shorter side: a long strip would become huge."""
LONGEST_ASPECT = 20
"""A longer strip is first cut to this aspect about its centre: a 1 x 5000 image would be resized to 256 x 1,280,000."""


def reference_transform(preprocess: Preprocess) -> Callable[[Image.Image], Float[Tensor, "3 height width"]]:
    """The whole of ``preprocess`` on a PIL image, as torchvision's and timm's evaluation transforms do it."""
    fit = _fit_pil(preprocess)

    def transform(image: Image.Image) -> Float[Tensor, "3 height width"]:
        fitted = v2.functional.pil_to_tensor(fit(image)).contiguous()
        scaled = fitted.to(torch.float32).div(255)
        normalised: Tensor = v2.functional.normalize(scaled, list(preprocess.mean), list(preprocess.std))
        return _blanked(normalised, fitted, preprocess)

    return transform


def fast_transform(preprocess: Preprocess) -> Fit:
    """Antialiased 8-bit resize of the tensor, then the crop; :func:`normalise` does the rest once a batch."""

    def fit(image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 out_height out_width"]:
        if preprocess.crop in CENTRED:
            image = v2.functional.center_crop(image, _trimmed(*image.shape[-2:]))
        resized = resize(image, _resized(image.shape[-2:], preprocess), preprocess.interpolation)
        cropped: Tensor = _cropped(resized, preprocess)
        return cropped

    return fit


def pil_transform(preprocess: Preprocess) -> Fit:
    """The resize and crop of :func:`reference_transform`, from and to 8-bit tensors."""
    fit = _fit_pil(preprocess)
    return lambda image: v2.functional.pil_to_tensor(fit(to_pil(image)))


def fit_by(path: Path, preprocess: Preprocess) -> Fit:
    """The transform of that name."""
    return fast_transform(preprocess) if path == "fast" else pil_transform(preprocess)


def choose(preprocess: Preprocess, samples: Iterable[UInt8[Tensor, "3 height width"]]) -> Path:
    """``fast`` if on every one of these decoded images it stays within the tolerances of PIL, else ``pil``."""
    fast, reference = fast_transform(preprocess), pil_transform(preprocess)
    for sample in samples:
        difference = (fast(sample).int() - reference(sample).int()).abs()
        if difference.float().mean() > MEAN_TOLERANCE or difference.max() > LARGEST_TOLERANCE:
            return "pil"
    return "fast"


def resize(
    image: Num[Tensor, "3 height width"], size: tuple[int, int], interpolation: Interpolation
) -> Num[Tensor, "3 out_height out_width"]:
    """Resized to (height, width) as PIL does it, antialiased; integers are rounded."""
    if image.shape[-2:] == size:
        return image
    # The same view with a batch axis torch knows for channels-last: two thirds of the time (90 us for 133, 300 to 224).
    batch = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    if interpolation == "nearest":  # PIL samples pixel centres
        return interpolate(batch, size, mode="nearest-exact")[0]
    return interpolate(batch, size, mode=interpolation, antialias=True, align_corners=False)[0]


def normalise(
    images: UInt8[Tensor, "batch 3 height width"], preprocess: Preprocess
) -> Float[Tensor, "batch 3 height width"]:
    """Scale to [0, 1], subtract the mean, divide by the standard deviation; keeps device and memory layout.

    As one multiplication and one addition in place, within 1e-6 of the three steps.

    >>> plain = Preprocess((1, 1), 1, "center", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8), plain).flatten().round(decimals=5).tolist()
    [1.0, 1.0, 1.0]
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=images.device) for values in (preprocess.mean, preprocess.std)
    )
    factor, shift = 1 / (255 * std), -mean / std
    scaled = _as_floats(images)
    if scaled.is_contiguous(memory_format=torch.channels_last):
        # Whole lines of red, green, blue, red, ...: four times as fast as a factor that changes with every value.
        count, _, height, width = scaled.shape
        lines = scaled.permute(0, 2, 3, 1).view(count, height, 3 * width)
        lines.mul_(factor.repeat(width)).add_(shift.repeat(width))
    else:
        scaled.mul_(factor.view(3, 1, 1)).add_(shift.view(3, 1, 1))
    return _blanked(scaled, images, preprocess)


def _as_floats(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """On the CPU in memory from NumPy, which asks for huge pages where torch does not.

    Of a batch of 64 of 224 pixels, whose 38 MB are new memory every time, most of the time went in page faults:
    normalising took 0.21 ms an image, and takes 0.09.
    """
    if images.device.type != "cpu":
        return images.to(torch.float32)
    last = images.is_contiguous(memory_format=torch.channels_last)
    axes = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    floats = torch.from_numpy(np.empty([images.shape[axis] for axis in axes], np.float32))
    return (floats.permute(0, 3, 1, 2) if last else floats).copy_(images)


def _fill(preprocess: Preprocess) -> list[int]:
    """The mean colour to the nearest grey level."""
    return [round(255 * channel) for channel in preprocess.mean]


def _blanked(normalised: Tensor, images: Tensor, preprocess: Preprocess) -> Tensor:
    """Padding is zero, as Segment Anything has it. A pixel of the image in just that colour moves by half a level."""
    if preprocess.crop != "pad":
        return normalised
    fill = torch.tensor(_fill(preprocess), dtype=torch.uint8, device=images.device).view(3, 1, 1)
    return normalised.masked_fill_((images == fill).all(-3, keepdim=True), 0.0)


def _fit_pil(preprocess: Preprocess) -> Callable[[Image.Image], Image.Image]:
    interpolation = InterpolationMode(preprocess.interpolation)

    def fit(image: Image.Image) -> Image.Image:
        if preprocess.crop in CENTRED:
            image = v2.functional.center_crop(image, _trimmed(image.height, image.width))
        size = _resized((image.height, image.width), preprocess)
        fitted: Image.Image = _cropped(v2.functional.resize(image, list(size), interpolation), preprocess)
        return fitted

    return fit


def _cropped(image: Any, preprocess: Preprocess) -> Any:
    """Cut ``size`` out of the middle of a PIL image or a tensor, or fill it up below and on the right."""
    (height, width), found = preprocess.size, v2.functional.get_size(image)
    if preprocess.crop == "pad":
        return v2.functional.pad(image, [0, 0, width - found[1], height - found[0]], fill=_fill(preprocess))
    if preprocess.crop == "center_floor":
        return v2.functional.crop(image, (found[0] - height) // 2, (found[1] - width) // 2, height, width)
    return v2.functional.center_crop(image, [height, width])


def _trimmed(height: int, width: int) -> list[int]:
    return [min(height, width * LONGEST_ASPECT), min(width, height * LONGEST_ASPECT)]


def _resized(shape: tuple[int, ...] | torch.Size, preprocess: Preprocess) -> tuple[int, int]:
    """(height, width) after resizing. Torchvision rounds down, Segment Anything (padding) to the nearest."""
    if preprocess.crop == "squash":
        return preprocess.size
    height, width = shape
    if preprocess.crop == "pad":
        scale = preprocess.resize / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    if height <= width:
        return preprocess.resize, int(preprocess.resize * width / height)
    return int(preprocess.resize * height / width), preprocess.resize
