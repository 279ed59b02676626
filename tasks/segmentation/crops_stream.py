"""What segmentation learns from: random crops of images and of their maps, cut at the same places."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from backbones.base import Preprocess
from backbones.training.images_stream import prepared
from tasks.datasets.label_maps import VOID
from tasks.datasets.partition import Part
from tasks.segmentation.geometry import Geometry, cut, cut_map, draw, filled
from tasks.segmentation.labelled import read_labelled


class LabelledCrop(NamedTuple):
    """8 bits, channels innermost, not padded."""

    pixels: UInt8[Tensor, "rows columns 3"]
    labels: UInt8[Tensor, "rows columns"]


class LabelledBatch(NamedTuple):
    """Normalised images, and the class of each pixel or :data:`VOID`."""

    images: Float[Tensor, "batch 3 height width"]
    labels: UInt8[Tensor, "batch height width"]


class CropsStream:
    """The images of a part, the same for the same (seed, epoch, index). Raises ``ValueError`` for an empty part."""

    def __init__(self, part: Part, classes: int, preprocess: Preprocess, geometry: Geometry, seed: int) -> None:
        if len(part) == 0:
            raise ValueError(f"the {part.split} part is empty; there are no images to train on")
        self.part, self.classes, self.preprocess = part, classes, preprocess
        self.geometry, self.seed = geometry, seed

    def __len__(self) -> int:
        return len(self.part)

    @property
    def names(self) -> Sequence[str]:
        """The images' names."""
        return self.part.names

    def load(self, index: int, epoch: int) -> LabelledCrop:
        """Raises what :func:`read_labelled` raises."""
        image, labels = read_labelled(self.part, index, self.classes)
        chance = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, index)))
        crop = draw(self.geometry, image.shape[1], image.shape[2], chance)
        pixels = cut(image, crop, self.preprocess.interpolation)
        return LabelledCrop(pixels.permute(1, 2, 0).contiguous(), cut_map(labels, crop).contiguous())

    def batch(self, items: Sequence[LabelledCrop], step: int, device: torch.device) -> LabelledBatch:
        """Squares of ``geometry.side``; beyond an image's crop is zero and :data:`VOID`."""
        side = self.geometry.side
        images = prepared([filled(item.pixels, (side, side)) for item in items], self.preprocess, device)
        labels = torch.full((len(items), side, side), VOID, dtype=torch.uint8)
        for image, label, item in zip(images, labels, items, strict=True):
            height, width = item.labels.shape
            image[:, height:], image[:, :, width:] = 0, 0
            label[:height, :width] = item.labels
        return LabelledBatch(images, labels.to(device))
