"""Images of different sizes as one batch: normalised, and padded with zeros on the right and below."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from backbones.base import Preprocess
from backbones.preprocessing import normalise


def padded_size(sizes: Sequence[tuple[int, int]], multiple: int, square: int | None = None) -> tuple[int, int]:
    """(height, width) that all of ``sizes`` fit into, a multiple; at least a square of that side.

    >>> padded_size([(200, 300), (256, 100)], 32)
    (256, 320)
    """
    height, width = (max(max(lengths), square or 0) for lengths in zip(*sizes, strict=True))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def padded(
    pixels: Sequence[UInt8[Tensor, "_ _ 3"]], size: tuple[int, int], preprocess: Preprocess, device: torch.device
) -> Float[Tensor, "batch 3 height width"]:
    """Channels-last, on the device; from pinned memory, so that no copy to a GPU is waited for."""
    pinned = device.type == "cuda"
    together = torch.zeros((len(pixels), *size, 3), dtype=torch.uint8, pin_memory=pinned)
    for place, image in zip(together, pixels, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    images = normalise(together.to(device, non_blocking=True).permute(0, 3, 1, 2), preprocess)
    for image, (height, width, _) in zip(images, [each.shape for each in pixels], strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return images
