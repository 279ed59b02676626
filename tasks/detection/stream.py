"""A training set of images with objects: views of 8-bit pixels made by workers, batches normalised on the device."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from backbones.base import Preprocess
from backbones.images import decode_row
from tasks.datasets.objects import Objects
from tasks.datasets.partition import Part
from tasks.datasets.sources import some
from tasks.detection.batch import DetectionBatch, Truth
from tasks.detection.jitter import Jitter, drawn
from tasks.detection.padding import padded, padded_size
from tasks.detection.view import seen


class Item(NamedTuple):
    """One image as an epoch sees it: 8 bits, channels innermost, without padding; no objects make it a negative."""

    pixels: UInt8[Tensor, "height width 3"]
    boxes: Float32[Tensor, "n 4"]
    labels: Int64[Tensor, " n"]
    masks: UInt8[Tensor, "n height width"] | None
    name: str


class DetectionStream:
    """The images of a part with their objects, varied by ``jitter`` the same for the same (seed, epoch, index).

    ``masks`` are made where they are asked for; ``multiple`` is what the batch's height and width are a multiple of.
    Raises ``ValueError`` for no images, for boxes that are not finite or have no area, and for masks of objects without
    outlines, naming the images.
    """

    def __init__(
        self, part: Part, preprocess: Preprocess, jitter: Jitter, seed: int, masks: bool, multiple: int = 32
    ) -> None:
        self.part, self.preprocess, self.jitter, self.seed = part, preprocess, jitter, seed
        self.masks, self.multiple = masks, multiple
        self._objects = _checked(part, masks)

    def __len__(self) -> int:
        return len(self.part)

    @property
    def names(self) -> Sequence[str]:
        """The images' names."""
        return self.part.names

    def load(self, index: int, epoch: int) -> Item:
        """Raises ``UnreadableImage`` for what cannot be decoded, ``ValueError`` for a size that is not the declared."""
        image = decode_row(self.part.images, int(self.part.rows[index]))
        objects, name = self._objects[index], self.names[index]
        if tuple(image.shape[1:]) != objects.size:
            raise ValueError(
                f"{name!r} is {tuple(image.shape[1:])} (height, width), but its objects say {objects.size}"
            )
        view = drawn(self.jitter, objects.size, chance_of(self.seed, epoch, index))
        found = seen(objects, view, self.masks)
        return Item(
            view.pixels(image, self.preprocess.interpolation).permute(1, 2, 0).contiguous(),
            torch.from_numpy(found.boxes),
            torch.from_numpy(found.labels),
            None if found.masks is None else torch.from_numpy(found.masks),
            name,
        )

    def batch(self, items: Sequence[Item], step: int, device: torch.device) -> DetectionBatch:
        """Padded together: to the jitter's square, where it has one."""
        sizes = [(item.pixels.shape[0], item.pixels.shape[1]) for item in items]
        size = padded_size(sizes, self.multiple, self.jitter.square)
        images = padded([item.pixels for item in items], size, self.preprocess, device)
        truths = tuple(_truth(item, size, device) for item in items)
        return DetectionBatch(images, tuple(sizes), truths, tuple(item.name for item in items))


def chance_of(seed: int, epoch: int, index: int) -> Random:
    """A generator for one item of one epoch; Python keeps the stream of ``random()`` between its versions."""
    words = np.random.SeedSequence([seed, epoch, index]).generate_state(4, np.uint32)
    return Random(words.tobytes())


def _truth(item: Item, size: tuple[int, int], device: torch.device) -> Truth:
    boxes, labels = (each.to(device, non_blocking=True) for each in (item.boxes, item.labels))
    if item.masks is None:
        return Truth(boxes, labels, None)
    masks = torch.zeros((len(item.masks), *size), dtype=torch.uint8, device=device)
    masks[:, : item.masks.shape[1], : item.masks.shape[2]] = item.masks.to(device, non_blocking=True)
    return Truth(boxes, labels, masks)


def _checked(part: Part, masks: bool) -> tuple[Objects, ...]:
    if not len(part) or part.objects is None:
        raise ValueError("there are no images with objects to train on")
    bad = [name for name, objects in zip(part.names, part.objects, strict=True) if _is_bad(objects)]
    if bad:
        raise ValueError(f"boxes of {len(bad)} images are not finite or have no area: {some(bad)}")
    bare = [name for name, one in zip(part.names, part.objects, strict=True) if masks and one.outlines is None]
    if bare:
        raise ValueError(f"{len(bare)} images have objects without outlines, and masks are to be learnt: {some(bare)}")
    return part.objects


def _is_bad(objects: Objects) -> bool:
    boxes = objects.boxes[~objects.crowd]
    return not bool(np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all())
