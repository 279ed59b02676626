"""A set of images as a method sees it: views whose chance is drawn by item, made together on the device."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import Preprocess
from backbones.images import Images
from backbones.pretraining.method import Batch, Progress, View
from backbones.pretraining.views.cutting import Pixels, cutter
from backbones.pretraining.views.decoded import Decoded
from backbones.pretraining.views.draws import draw
from backbones.pretraining.views.making import make_views
from backbones.pretraining.views.parameters import parameters
from backbones.pretraining.views.sending import sent
from backbones.pretraining.views.settings import ViewGroup
from backbones.training.order import steps_an_epoch
from backbones.training.recipe import Recipe


class Item(NamedTuple):
    """One image, a row of uniform numbers for each of its views, and its row."""

    pixels: Pixels
    numbers: NDArray[np.float64]
    row: int


class ViewStream:
    """Views of images ``rows`` of a source, by ``groups``, in the size (where a group has none) and with the
    normalisation of ``preprocess``. The same views for any number of workers, devices and restarts.

    Deviations from transforms of single PIL images: values stay floats from the crop on, they are not rounded to 8 bits
    after every operation; an image with a side of more than :data:`~backbones.pretraining.views.decoded.LONGEST_SIDE`
    pixels is reduced to that first. Images are kept decoded where all fit into ``memory_gb`` together, once in every
    process of a training, for it and its workers.

    Raises ``ValueError`` for no rows, rows that do not exist and an encoder of images that are no squares;
    ``UnreadableImage`` naming an image that cannot be decoded, at once where images are kept, else when it is its turn.
    """

    def __init__(
        self,
        images: Images,
        rows: Sequence[int] | NDArray[np.integer],
        preprocess: Preprocess,
        groups: Sequence[ViewGroup],
        seed: int,
        recipe: Recipe,
        memory_gb: float = 4.0,
    ) -> None:
        self.images, self.rows = images, np.asarray(rows, np.int64)
        self.preprocess, self.seed, self.recipe = preprocess, seed, recipe
        self.views = [group for group in groups for _ in range(group.count)]
        self.sizes = [group.size or preprocess.size[0] for group in self.views]
        self._check()
        self.steps_an_epoch = steps_an_epoch(len(self.rows), recipe.global_batch)
        self._decoded = Decoded(images, self.rows, memory_gb)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> Sequence[str]:
        """The images' names."""
        return [self.images.names[row] for row in self.rows.tolist()]

    def load(self, index: int, epoch: int) -> Item:
        """Raises ``UnreadableImage`` naming an image that cannot be decoded."""
        return Item(self._decoded[index], draw(self.seed, epoch, index, len(self.views)), index)

    def batch(self, items: Sequence[Item], step: int, device: torch.device) -> Batch:
        """Views in the order of the groups; ``rows`` number the images of the set, not of the source."""
        cut = cutter([item.pixels for item in items], device)
        shapes = np.array([item.pixels.shape[:2] for item in items])
        heights, widths = shapes.T
        numbers = np.stack([item.numbers for item in items], axis=1)
        views: dict[int, View] = {}
        for size in dict.fromkeys(self.sizes):
            alike = [view for view, other in enumerate(self.sizes) if other == size]
            wanted = [parameters(numbers[view], heights, widths, self.views[view], size) for view in alike]
            views |= zip(alike, make_views(cut, shapes, wanted, size, self.preprocess), strict=True)
        rows = sent(np.array([item.row for item in items], np.int64), device)
        progress = Progress(step, self.steps_an_epoch * self.recipe.epochs, self.steps_an_epoch)
        return Batch(tuple(views[view] for view in range(len(views))), rows, progress)

    def _check(self) -> None:
        if len(self.rows) == 0:
            raise ValueError("there are no images to train on: rows is empty")
        if self.rows.min() < 0 or self.rows.max() >= len(self.images):
            raise ValueError(f"rows {self.rows.min()}..{self.rows.max()} are not all among {len(self.images)} images")
        height, width = self.preprocess.size
        if height != width:
            raise ValueError(f"views are squares, and the encoder takes images of {height} x {width} pixels")
