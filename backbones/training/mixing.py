"""Mixup (1710.09412) and CutMix (1905.04899) of neighbours: one choice a step, whatever the step is cut into."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backbones.training.augmentation import Augmentation
from backbones.training.seeded import seeded

STEP_CHANCE = 1
"""The first word of a step's place among the random numbers of a seed."""


class Mix(NamedTuple):
    """How a step's images are mixed: ``share`` is what an image keeps of itself, its target likewise.

    With a ``box`` (top, bottom, left, right) pixels in it are the other's: CutMix. Without, all are averaged: mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None = None


def choose_mix(augmentation: Augmentation, size: tuple[int, int], seed: int, step: int) -> Mix:
    """The step's choice for images of ``size`` (height, width), in the order in which timm's ``Mixup`` draws."""
    from timm.data import mixup  # imports all of timm: two seconds

    cutmix_box: Callable[[tuple[int, int], float], tuple[tuple[int, ...], float]] = mixup.cutmix_bbox_and_lam
    with seeded(seed, STEP_CHANCE, step):
        by_box = augmentation.cutmix > 0
        if augmentation.mixup > 0 and by_box:
            by_box = np.random.rand() < augmentation.cutmix_share
        alpha = augmentation.cutmix if by_box else augmentation.mixup
        share = float(np.random.beta(alpha, alpha))
        if not by_box:
            return Mix(share)
        (top, bottom, left, right), share = cutmix_box(size, share)
        return Mix(float(share), (int(top), int(bottom), int(left), int(right)))


def mix_images(images: Float[Tensor, "batch 3 height width"], mix: Mix) -> Float[Tensor, "batch 3 height width"]:
    """Images 2 j and 2 j + 1 mixed with each other; keeps the memory layout. The batch is even."""
    if mix.box is None:
        return torch.lerp(neighbours(images), images, mix.share)
    top, bottom, left, right = mix.box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = neighbours(images[:, :, top:bottom, left:right])
    return mixed


def mix_targets(targets: Float[Tensor, "batch outputs"], mix: Mix) -> Float[Tensor, "batch outputs"]:
    """The targets of :func:`mix_images`.

    >>> mix_targets(torch.eye(2), Mix(0.75)).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    return torch.lerp(neighbours(targets), targets, mix.share)


def neighbours(rows: Tensor) -> Tensor:
    """Row 2 j where 2 j + 1 was, and the other way round."""
    if len(rows) % 2:
        raise ValueError(f"{len(rows)} items cannot be mixed in pairs; make the batch an even number, or mix nothing")
    order = torch.arange(len(rows), device=rows.device) ^ 1
    return rows[order]
