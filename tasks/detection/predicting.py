"""What a detector finds in the images of a part, in pixels of the images as they are."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from backbones.base import Preprocess
from backbones.images import decode_row
from backbones.training.evaluation import evaluating
from backbones.training.execution import Execution
from backbones.training.loader import Wanted, load
from tasks.datasets.outlines import RunLengths, outline_of
from tasks.datasets.partition import Part
from tasks.detection.batch import Detections
from tasks.detection.detector_trainee import DetectorTrainee
from tasks.detection.evaluation.tables import ImageDetections
from tasks.detection.jitter import Jitter, as_tested
from tasks.detection.padding import padded, padded_size

BATCH_SIZES = {"cpu": 2, "mps": 4}
"""Images at once where none is asked for, on a GPU 8."""
MASK_THRESHOLD = 0.5
"""The probability from which on a pixel is the object's."""
PASTED = 16
"""Masks of an image pasted at a time, so that a hundred of a large image need not be in memory together."""


class Looked(NamedTuple):
    """One image resized as tested, and the (height, width) it was decoded to."""

    pixels: UInt8[Tensor, "height width 3"]
    size: tuple[int, int]


def detections(
    trainee: DetectorTrainee, part: Part, preprocess: Preprocess, jitter: Jitter, execution: Execution
) -> list[ImageDetections]:
    """An entry an image, in the order of the part; each module is afterwards in the mode it was in before.

    Only images of one padded size are looked at together, so that nobody's neighbours change what is found in it.
    Masks are kept as run lengths.
    """
    assert part.objects is not None
    stream = _Tested(part, preprocess, jitter)
    device = next(trainee.parameters()).device
    dtype = getattr(torch, execution.precision)
    found: list[ImageDetections | None] = [None] * len(part)
    places = list(_batches(part, jitter, trainee.multiple, execution.device_batch or BATCH_SIZES.get(device.type, 8)))
    wanted = [Wanted(0, rows) for rows in places]
    with (
        evaluating(trainee),
        torch.inference_mode(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        closing(load(stream, wanted, execution.workers, execution.stall_seconds)) as loaded,
    ):
        for rows, items in zip(places, loaded, strict=True):
            sizes = [(item.pixels.shape[0], item.pixels.shape[1]) for item in items]
            size = padded_size(sizes, trainee.multiple, jitter.square)
            images = padded([item.pixels for item in items], size, preprocess, device)
            for row, item, seen, one in zip(rows, items, sizes, trainee.detector.detect(images, sizes), strict=True):
                found[row] = _as_in_the_image(one, seen, item.size)
            if execution.report is not None:
                execution.report("images", sum(each is not None for each in found), len(part))
    return [each for each in found if each is not None]


class _Tested:
    """A part's images as tested."""

    def __init__(self, part: Part, preprocess: Preprocess, jitter: Jitter) -> None:
        self.part, self.preprocess, self.jitter = part, preprocess, jitter

    def __len__(self) -> int:
        return len(self.part)

    @property
    def names(self) -> Sequence[str]:
        return self.part.names

    def load(self, index: int, epoch: int) -> Looked:
        image = decode_row(self.part.images, int(self.part.rows[index]))
        size = (image.shape[1], image.shape[2])
        pixels = as_tested(self.jitter, size).pixels(image, self.preprocess.interpolation)
        return Looked(pixels.permute(1, 2, 0).contiguous(), size)

    def batch(self, items: Sequence[Looked], step: int, device: torch.device) -> Sequence[Looked]:
        return items


def _batches(part: Part, jitter: Jitter, multiple: int, most: int) -> Iterator[tuple[int, ...]]:
    """Places in the part, by the size they are padded to."""
    assert part.objects is not None
    sizes = [padded_size([as_tested(jitter, objects.size).size], multiple, jitter.square) for objects in part.objects]
    for _, alike in groupby(sorted(range(len(part)), key=lambda row: (sizes[row], row)), key=lambda row: sizes[row]):
        rows = tuple(alike)
        yield from (rows[start : start + most] for start in range(0, len(rows), most))


def _as_in_the_image(found: Detections, seen: tuple[int, int], size: tuple[int, int]) -> ImageDetections:
    """Boxes and masks of an image that was seen at one (height, width), at its own."""
    down, across = size[0] / seen[0], size[1] / seen[1]
    boxes = found.boxes.float() * found.boxes.new_tensor([across, down, across, down], dtype=torch.float32)
    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    outlines = None if found.masks is None else _outlines(found.masks.float(), boxes, size)
    labels = found.labels.cpu().numpy()
    return ImageDetections(boxes.cpu().numpy(), found.scores.float().cpu().numpy(), labels, outlines)


def _outlines(
    masks: Float32[Tensor, "n side side"], boxes: Float32[Tensor, "n 4"], size: tuple[int, int]
) -> tuple[RunLengths, ...]:
    outlines: list[RunLengths] = []
    for start in range(0, len(masks), PASTED):
        few = slice(start, start + PASTED)
        pasted = paste_masks_in_image(masks[few, None], boxes[few], size)[:, 0] >= MASK_THRESHOLD
        outlines += [outline_of(mask) for mask in pasted.to(torch.uint8).cpu().numpy()]
    return tuple(outlines)
