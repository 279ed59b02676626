"""An image with the class of each of its pixels, and what cannot be one."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from backbones.images import decode_row
from tasks.datasets.label_maps import VOID
from tasks.datasets.partition import Part


def read_labelled(
    part: Part, at: int, classes: int
) -> tuple[UInt8[Tensor, "3 height width"], UInt8[Tensor, "height width"]]:
    """The ``at``-th image of a part and its map.

    Raises ``ValueError`` naming an image whose map is of another size, or has a class the dataset has not, and
    ``UnreadableImage`` naming one that cannot be decoded.
    """
    if part.maps is None:
        raise ValueError(f"the {part.split} part has no maps of classes")
    row = int(part.rows[at])
    image, labels = decode_row(part.images, row), part.maps.read(row)
    name = part.images.names[row]
    if labels.shape != image.shape[1:]:
        (height, width), (rows, columns) = image.shape[1:], labels.shape
        raise ValueError(
            f"{name!r} is {width} x {height} pixels, but its map {part.maps.images.names[row]!r} is {columns} x {rows} "
            "(width x height); a map has a value for each pixel of the image as it is shown, turned as its EXIF says"
        )
    beyond = (labels >= classes) & (labels != VOID)
    if beyond.any():
        raise ValueError(
            f"the map of {name!r} has pixels of class {int(labels[beyond][0])}; there are {classes} classes, numbered "
            f"from 0, and {VOID} for none"
        )
    return image, torch.from_numpy(np.ascontiguousarray(labels))
