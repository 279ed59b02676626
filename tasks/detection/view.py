"""A view of an image: a window of it, resized and perhaps mirrored, and where its objects are then."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from backbones.base import Interpolation
from backbones.preprocessing import resize
from tasks.datasets.objects import Objects
from tasks.datasets.outlines import Outline, RunLengths, mask_of

LEAST_SIDE = 1.0
"""Pixels of a view: of an object whose box shows less, across or down, there is nothing to learn."""


class View(NamedTuple):
    """``window`` (top, left, height, width, in whole pixels of the image) shown at ``size`` (height, width).

    Only what is seen is ever resized, so that a corner of a large image at twice its size costs what it shows.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    mirrored: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the view for one of the image: down, across."""
        return self.size[0] / self.window[2], self.size[1] / self.window[3]

    def pixels(
        self, image: UInt8[Tensor, "3 height width"], interpolation: Interpolation
    ) -> UInt8[Tensor, "3 view_height view_width"]:
        """What is seen of the image."""
        top, left, height, width = self.window
        seen = resize(image[:, top : top + height, left : left + width], self.size, interpolation)
        return seen.flip(2) if self.mirrored else seen


class Seen(NamedTuple):
    """Objects as a view shows them: whole boxes cut to it, and masks of its size."""

    boxes: Float32[np.ndarray, "n 4"]
    labels: Int64[np.ndarray, " n"]
    masks: UInt8[np.ndarray, "n view_height view_width"] | None


def seen(objects: Objects, view: View, masks: bool) -> Seen:
    """Those objects that show, crowds left out, with their masks if these are asked for (and then some pixel of it)."""
    boxes = _boxes(objects.boxes, view)
    shown = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(axis=1) & ~objects.crowd
    at = np.flatnonzero(shown)
    if not masks:
        return Seen(boxes[at], objects.labels[at], None)
    assert objects.outlines is not None, "masks are asked for only where objects have outlines"
    stack = np.zeros((len(at), *view.size), np.uint8)
    for place, row in zip(stack, at.tolist(), strict=True):
        _draw(place, objects.outlines[row], objects.size, view)
    kept = stack.any(axis=(1, 2))
    return Seen(boxes[at[kept]], objects.labels[at[kept]], stack if kept.all() else stack[kept])


def _boxes(boxes: Float32[np.ndarray, "n 4"], view: View) -> Float32[np.ndarray, "n 4"]:
    """In pixels of the view, cut to it."""
    top, left, _, _ = view.window
    (down, across), (height, width) = view.scale, view.size
    x = np.clip((boxes[:, 0::2].astype(np.float64) - left) * across, 0, width)
    y = np.clip((boxes[:, 1::2].astype(np.float64) - top) * down, 0, height)
    if view.mirrored:
        x = width - x[:, ::-1]
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1).astype(np.float32)


def _draw(
    mask: UInt8[np.ndarray, "view_height view_width"], outline: Outline, size: tuple[int, int], view: View
) -> None:
    """Polygons are moved and drawn at the view's size, no larger than they are; run lengths are drawn and resized."""
    if isinstance(outline, RunLengths):
        whole = torch.from_numpy(np.ascontiguousarray(mask_of(outline, size)) * np.uint8(255)).expand(3, -1, -1)
        mask[:] = (view.pixels(whole, "bilinear")[0] >= 128).numpy()
        return
    top, left, _, _ = view.window
    (down, across), (height, width) = view.scale, view.size
    moved = []
    for part in outline:
        x, y = (part[0::2].astype(np.float64) - left) * across, (part[1::2].astype(np.float64) - top) * down
        moved.append(np.stack([width - x if view.mirrored else x, y], axis=1))
    corners = np.concatenate(moved)
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, (width, height))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height))
    if (high > low).all():
        near = tuple((part - low).reshape(-1).astype(np.float32) for part in moved)
        mask[low[1] : high[1], low[0] : high[0]] = mask_of(near, (int(high[1] - low[1]), int(high[0] - low[0])))
