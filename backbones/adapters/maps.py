"""Dense maps as the contract wants them: one a stride, a side the image's over the stride, rounded up."""

import math
from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

Map = Float[Tensor, "batch channels map_height map_width"]


def fit_to_stride(
    features: Map, stride: int, image_size: tuple[int, int]
) -> Float[Tensor, "batch channels rows columns"]:
    """Resize bilinearly where an architecture rounds down (unpadded stems, floored pooling): by a cell or two."""
    size = (math.ceil(image_size[0] / stride), math.ceil(image_size[1] / stride))
    if features.shape[-2:] == size:
        return features
    return interpolate(features, size=size, mode="bilinear", antialias=False)


def deepest_by_stride(maps: Iterable[Map], image_size: tuple[int, int]) -> dict[int, Map]:
    """Key maps given in depth order by stride, a power of two; of several with one stride the last stays."""
    found = {nearest_stride((each.shape[-2], each.shape[-1]), image_size): each for each in maps}
    return {stride: fit_to_stride(found[stride], stride, image_size) for stride in sorted(found)}


def nearest_stride(map_size: tuple[int, int], image_size: tuple[int, int]) -> int:
    """The power of two (the smallest of equals) whose rounded-up map is nearest in size.

    >>> nearest_stride((3, 3), (65, 65)), nearest_stride((13, 13), (224, 224))
    (32, 16)
    """

    def distance(stride: int) -> int:
        return sum(abs(math.ceil(side / stride) - cells) for side, cells in zip(image_size, map_size, strict=True))

    return min((1 << power for power in range(8)), key=distance)


def tokens_to_map(tokens: Float[Tensor, "batch tokens channels"], grid: tuple[int, int]) -> Map:
    """The last ``height x width`` tokens, row by row; class and register tokens come first and are left out."""
    height, width = grid
    last = tokens[:, -height * width :].transpose(1, 2)
    return last.reshape(*last.shape[:2], height, width)


def whole_patches(
    images: Float[Tensor, "batch 3 height width"], patch: int
) -> Float[Tensor, "batch 3 whole_height whole_width"]:
    """The image without the remainder beyond its last whole patch, which a patch convolution never looks at.

    timm's transformers of any size would refuse it or, padding, see one patch more than the weights were trained on:
    384 pixels in patches of 14 are 27 a side, not 28 (features differed by a third of their root mean square).
    """
    height, width = (length - length % patch for length in images.shape[-2:])
    return images[..., :height, :width]


def pad_to(images: Tensor, multiple: int) -> Tensor:
    """Zeros (the mean colour, after normalisation) below and to the right, up to a multiple in each direction."""
    height, width = images.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return pad(images, (0, right, 0, bottom)) if bottom or right else images
