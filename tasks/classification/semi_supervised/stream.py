"""The training set: each item a labelled image and its companions, which have no labels here at all."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from backbones.base import Preprocess
from backbones.feature_run import sampled
from backbones.images import Images, decode_row
from backbones.preprocessing import choose, fit_by
from backbones.pretraining.method import Progress
from backbones.training.augment import Patch
from backbones.training.chance import seed_of
from backbones.training.images_stream import erase, prepared
from backbones.training.order import epoch_order, steps_an_epoch
from backbones.training.recipe import Recipe
from tasks.classification.semi_supervised.method import Batch, Wanted
from tasks.classification.semi_supervised.perturbation import Vary, vary_by

LABELLED, UNLABELLED, ORDER, STEP = range(4)
"""What a number drawn from a stream's seed is for."""


class Seen(NamedTuple):
    """One view of one image: 8 bits, channels innermost; and what is erased of it."""

    pixels: UInt8[Tensor, "height width 3"]
    patch: Patch | None


class Item(NamedTuple):
    """A labelled image, and the views of its companions, a row a view."""

    labelled: Seen
    label: int
    unlabelled: tuple[tuple[Seen, ...], ...]


class SemiStream:
    """An epoch has as many items as the pool has images, whatever the method.

    Labelled images (``rows`` of ``images`` with their ``labels``) take turns. Images of the pool are in a new order
    for every pass over it; with ``ratio`` companions an item, an epoch is that many passes.
    """

    def __init__(
        self,
        images: Images,
        rows: Int64[np.ndarray, " n"],
        labels: Int64[np.ndarray, " n"],
        pool: Int64[np.ndarray, " m"],
        preprocess: Preprocess,
        wanted: Wanted,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.images, self.rows, self.labels, self.pool = images, rows, labels, pool
        self.preprocess, self.wanted, self.seed = preprocess, wanted, seed
        self.size, self.epochs = recipe.global_batch, recipe.epochs
        samples = [decode_row(images, int(rows[at])) for at in sampled(len(rows))]
        fit = fit_by(choose(preprocess, samples), preprocess)
        self._labelled = vary_by(wanted.labelled, preprocess, fit, seed_of(seed, LABELLED, 0))
        self._unlabelled = [
            vary_by(view, preprocess, fit, seed_of(seed, UNLABELLED, at)) for at, view in enumerate(wanted.unlabelled)
        ]

    def __len__(self) -> int:
        return len(self.pool)

    @property
    def names(self) -> Sequence[str]:
        """The labelled images' names; companions differ from epoch to epoch."""
        return [self.images.names[row] for row in np.resize(self.rows, len(self)).tolist()]

    def load(self, index: int, epoch: int) -> Item:
        """Raises ``UnreadableImage`` naming an image that cannot be decoded."""
        at = (epoch * len(self) + index) % len(self.rows)
        labelled = _seen(decode_row(self.images, int(self.rows[at])), self._labelled, epoch, index)
        places = [index * self.wanted.ratio + each for each in range(self.wanted.ratio)]
        decoded = [decode_row(self.images, self._row(epoch, place)) for place in places]
        views = tuple(
            tuple(_seen(image, vary, epoch, place) for image, place in zip(decoded, places, strict=True))
            for vary in self._unlabelled
        )
        return Item(labelled, int(self.labels[at]), views)

    def batch(self, items: Sequence[Item], step: int, device: torch.device) -> Batch:
        """Normalised, then erased."""
        each_epoch = steps_an_epoch(len(self), self.size)
        return Batch(
            self._pixels([item.labelled for item in items], device),
            torch.tensor([item.label for item in items], device=device),
            tuple(
                self._pixels([seen for item in items for seen in item.unlabelled[view]], device)
                for view in range(len(self.wanted.unlabelled))
            ),
            Progress(step, each_epoch * self.epochs, each_epoch),
            np.random.default_rng([self.seed, STEP, step]),
        )

    def _row(self, epoch: int, place: int) -> int:
        """Of the image at this place of an epoch's passes over the pool."""
        turn, at = divmod(place, len(self.pool))
        return int(self.pool[_order(len(self.pool), seed_of(self.seed, ORDER, turn), epoch)[at]])

    def _pixels(self, seen: Sequence[Seen], device: torch.device) -> Float[Tensor, "images 3 height width"]:
        images = prepared([each.pixels for each in seen], self.preprocess, device)
        erase(images, [each.patch for each in seen])
        return images


def _seen(image: UInt8[Tensor, "3 height width"], vary: Vary, epoch: int, index: int) -> Seen:
    pixels, patch = vary(image, epoch, index)
    return Seen(pixels.permute(1, 2, 0).contiguous(), patch)


@lru_cache(maxsize=16)
def _order(rows: int, seed: int, epoch: int) -> Int64[np.ndarray, " rows"]:
    return epoch_order(rows, seed, epoch)
