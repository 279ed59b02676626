"""What a network takes every pixel of whole images for, at their own size, counted against the truth."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from backbones.base import Preprocess
from backbones.preprocessing import resize
from backbones.training.execution import Execution
from backbones.training.images_stream import prepared
from backbones.training.loader import Wanted, load
from backbones.training.trainee import Trainee
from tasks.datasets.partition import Part
from tasks.segmentation.confusion import Counts, confusion
from tasks.segmentation.geometry import filled, padded_size, whole_size
from tasks.segmentation.labelled import read_labelled
from tasks.segmentation.network import Network, Segmenter

HELD = 2**24
"""Logits held at once at an image's own size (64 MB): 150 classes of a photograph of 12 megapixels would be 7 GB."""


class Whole(NamedTuple):
    """An image at the size it is judged at, and its map at its own."""

    pixels: UInt8[Tensor, "rows columns 3"]
    labels: UInt8[Tensor, "height width"]


class WholeStream:
    """Whole images of a part, their aspect ratio kept, one a batch: they are of different sizes."""

    def __init__(self, part: Part, classes: int, preprocess: Preprocess, side: int) -> None:
        self.part, self.classes, self.preprocess, self.side = part, classes, preprocess, side

    def __len__(self) -> int:
        return len(self.part)

    @property
    def names(self) -> Sequence[str]:
        """The images' names."""
        return self.part.names

    def load(self, index: int, epoch: int) -> Whole:
        """Raises what :func:`read_labelled` raises."""
        image, labels = read_labelled(self.part, index, self.classes)
        size = whole_size(image.shape[1], image.shape[2], self.side)
        resized = resize(image, size, self.preprocess.interpolation)
        return Whole(resized.permute(1, 2, 0).contiguous(), labels)

    def batch(self, items: Sequence[Whole], step: int, device: torch.device) -> Float[Tensor, "1 3 height width"]:
        """The one image, normalised and padded with zeros."""
        (item,) = items
        height, width = item.pixels.shape[:2]
        image = prepared([filled(item.pixels, padded_size(height, width))], self.preprocess, device)
        image[..., height:, :], image[..., width:] = 0, 0
        return image


class Judge:
    """Counts pixels of a part; as an evaluation after every epoch it answers their mIoU.

    It is sent to other processes where several train.
    """

    def __init__(self, part: Part, classes: int, preprocess: Preprocess, side: int, execution: Execution) -> None:
        self.stream = WholeStream(part, classes, preprocess, side)
        self.execution = replace(execution, report=None)

    def __call__(self, model: Trainee) -> dict[str, float]:
        return {"val_miou": float(self.counts(model).values()[0])}

    def counts(self, model: Trainee) -> Counts:
        """Of each image in the part's order. Raises ``ValueError`` naming an image whose logits are not finite."""
        assert isinstance(model, Segmenter)
        return Counts.of(self._matrices(model.network))

    def _matrices(self, network: Network) -> Iterator[Int64[np.ndarray, "classes classes"]]:
        stream, execution = self.stream, self.execution
        device, dtype = next(network.parameters()).device, getattr(torch, execution.precision)
        wanted = [Wanted(0, (at,)) for at in range(len(stream))]
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
            closing(load(stream, wanted, execution.workers, execution.stall_seconds)) as batches,
        ):
            for name, items in zip(stream.names, batches, strict=True):
                images, (item,) = stream.batch(items, 0, device), items
                logits = network(images)[0].float()
                if not logits.isfinite().all():
                    raise ValueError(f"the logits of {name!r} are not all finite numbers (NaN or infinite)")
                padded, seen, own = images.shape[-2:], item.pixels.shape[:2], item.labels.shape
                predicted = classes_of(logits, padded, seen, own).cpu().numpy()
                yield confusion(item.labels.numpy(), predicted, stream.classes)


def classes_of(
    logits: Float32[Tensor, "classes rows columns"],
    padded: Sequence[int],
    seen: Sequence[int],
    own: Sequence[int],
) -> UInt8[Tensor, "height width"]:
    """The class of each pixel of an image of size ``own``, of which the network saw ``padded``, the image in ``seen``.

    Logits are resized to what the network saw, cut to the image and resized to its own size, and then compared: some
    classes at a time, so that memory does not grow with their count. Of equal logits the first class is taken.
    """
    highest = torch.full((own[0], own[1]), -torch.inf, device=logits.device)
    found = torch.zeros_like(highest, dtype=torch.uint8)
    together = max(1, HELD // max(own[0] * own[1], padded[0] * padded[1]))
    for first in range(0, len(logits), together):
        whole = interpolate(logits[None, first : first + together], size=padded, mode="bilinear")
        some = interpolate(whole[..., : seen[0], : seen[1]], size=own, mode="bilinear")[0]
        values, places = some.max(0)
        better = values > highest
        highest = torch.where(better, values, highest)
        found = torch.where(better, (places + first).to(torch.uint8), found)
    return found
