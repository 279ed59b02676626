"""What an adversary may do: move an image within a ball about it, and never out of [0, 1]."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Norm = Literal["linf", "l2"]
Model = Callable[[Float[Tensor, "batch 3 height width"]], Float[Tensor, "batch classes"]]
"""Pixels in [0, 1] to logits; every image's are its own affair (no statistics over the batch)."""


@dataclass(frozen=True)
class Batch:
    """Images in [0, 1] with their labels. ``seeds``, one an image, make its random numbers the same in any batch."""

    images: Float[Tensor, "batch 3 height width"]
    labels: Int[Tensor, " batch"]
    seeds: Sequence[int]

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Int[Tensor, " rows"]) -> "Batch":
        """Some of them."""
        return Batch(self.images[rows], self.labels[rows], [self.seeds[row] for row in rows.tolist()])

    def generators(self, purpose: int) -> list[np.random.Generator]:
        """One an image, another for each purpose."""
        return [np.random.default_rng([purpose, seed]) for seed in self.seeds]


@dataclass(frozen=True)
class Threat:
    """Changes of at most ``radius`` in a norm, in units of pixels in [0, 1]: 4/255 is four grey levels."""

    norm: Norm
    radius: float

    def project(
        self, moved: Float[Tensor, "batch 3 height width"], images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Into the ball, then into the box: images are in the box, so that cutting back to it never leaves the ball."""
        change = moved - images
        if self.norm == "linf":
            change = change.clamp(-self.radius, self.radius)
        else:
            change = change * (self.radius / lengths(change).clamp_min(1e-12)).clamp_max(1)
        return (images + change).clamp(0, 1)

    def steepest(self, gradient: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """The direction of length one in which a loss rises most; zero where the gradient is."""
        if self.norm == "linf":
            return gradient.sign()
        # By the largest entry first: squares of tiny gradients would be zero.
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        scaled = gradient / torch.where(largest > 0, largest, 1)
        return scaled / lengths(scaled).clamp_min(1e-12)

    def random(self, batch: Batch, purpose: int) -> Float[Tensor, "batch 3 height width"]:
        """A point of the ball for each image, uniform in it, then put into the box."""
        drawn = np.stack([self._drawn(one, tuple(batch.images.shape[1:])) for one in batch.generators(purpose)])
        moved = batch.images + self.radius * torch.from_numpy(drawn).to(batch.images)
        return self.project(moved, batch.images)

    def _drawn(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "3 height width"]:
        if self.norm == "linf":
            return np.asarray(generator.uniform(-1, 1, shape), dtype=np.float32)
        direction = generator.standard_normal(shape, dtype=np.float32)
        # Of d dimensions the share of the ball within r of its middle is r^d.
        reach = generator.random() ** (1 / math.prod(shape))
        return np.asarray(direction * np.float32(reach) / np.linalg.norm(direction), dtype=np.float32)


Attack = Callable[[Model, Batch, Threat], Tensor]
"""Images moved towards being taken for another class: the first point that is, else the last or best one tried."""


def lengths(change: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 1 1"]:
    """Euclidean length of each image's change."""
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return length


def is_right(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Whether the label scores above every other class: an equal score is a failure."""
    return margins(logits, labels) > 0


def margins(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The label's logit less the highest of the others."""
    right = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return right[:, 0] - others.amax(1)
