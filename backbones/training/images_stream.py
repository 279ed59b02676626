"""A training set of images: decoded and varied by workers as 8-bit pixels, normalised and mixed on the device."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from backbones.base import Preprocess
from backbones.images import Images, decode_row
from backbones.preprocessing import normalise
from backbones.training.augment import Augment, Patch
from backbones.training.augmentation import Augmentation
from backbones.training.mixing import choose_mix, mix_images, mix_targets


class Item(NamedTuple):
    """One image as an epoch sees it, small enough to cross processes: 8 bits, channels innermost."""

    pixels: UInt8[Tensor, "height width 3"]
    target: NDArray[np.generic]
    patch: Patch | None


class ImageBatch(NamedTuple):
    """Preprocessed images, channels-last, and what a loss compares the outputs with.

    ``targets`` are class indices (int64); with mixing, shares of each class that add up to 1; or rows of numbers.
    """

    images: Float[Tensor, "batch 3 height width"]
    targets: Num[Tensor, " batch"] | Num[Tensor, "batch outputs"]


class ImagesStream:
    """Images ``rows`` of a source with their ``targets`` (``targets[i]`` belongs to row ``rows[i]``).

    ``targets`` are class indices below ``classes``, one an image, or (``classes`` None) a row of numbers an image, NaN
    where one is not known; one number is a row of one.

    Raises ``ValueError`` for no rows, rows that do not exist, targets of another length, classes out of range and
    infinite values, naming the first.
    """

    def __init__(
        self,
        images: Images,
        rows: Sequence[int] | NDArray[np.integer],
        targets: NDArray[np.generic],
        preprocess: Preprocess,
        augmentation: Augmentation,
        seed: int,
        classes: int | None = None,
    ) -> None:
        self.images, self.rows, self.targets = images, np.asarray(rows), np.asarray(targets)
        self.preprocess, self.augmentation, self.seed, self.classes = preprocess, augmentation, seed, classes
        self._check()
        if classes is None:
            self.targets = self.targets.astype(np.float32).reshape(len(self.targets), -1)
        else:
            self.targets = self.targets.astype(np.int64)
        self._augment = Augment(augmentation, preprocess, seed)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> Sequence[str]:
        """The images' names."""
        return [self.images.names[row] for row in self.rows.tolist()]

    def load(self, index: int, epoch: int) -> Item:
        """Raises ``UnreadableImage`` naming an image that cannot be decoded."""
        decoded = decode_row(self.images, int(self.rows[index]))
        pixels, patch = self._augment(decoded, epoch, index)
        return Item(pixels.permute(1, 2, 0).contiguous(), self.targets[index], patch)

    def batch(self, items: Sequence[Item], step: int, device: torch.device) -> ImageBatch:
        """Normalised, then erased, then mixed; raises ``ValueError`` for an odd number of items to be mixed."""
        images = prepared([item.pixels for item in items], self.preprocess, device)
        erase(images, [item.patch for item in items])
        targets = torch.from_numpy(np.stack([item.target for item in items])).to(device)
        if not self.augmentation.mixes:
            return ImageBatch(images, targets)
        if self.classes is not None:
            targets = one_hot(targets, self.classes).float()
        mix = choose_mix(self.augmentation, self.preprocess.size, self.seed, step)
        return ImageBatch(mix_images(images, mix), mix_targets(targets, mix))

    def _check(self) -> None:
        if len(self.rows) == 0:
            raise ValueError("there are no images to train on: rows is empty")
        if self.rows.min() < 0 or self.rows.max() >= len(self.images):
            raise ValueError(f"rows {self.rows.min()}..{self.rows.max()} are not all among {len(self.images)} images")
        if len(self.targets) != len(self.rows):
            raise ValueError(f"{len(self.rows)} rows have {len(self.targets)} targets; every row must have one")
        wrong, allowed = self._wrong_targets()
        if wrong.any():
            first = int(wrong.argmax())
            raise ValueError(
                f"{int(wrong.sum())} of {len(wrong)} targets are not {allowed} "
                f"(first: {self.targets[first]} of {self.images.names[int(self.rows[first])]!r})"
            )

    def _wrong_targets(self) -> tuple[NDArray[Any], str]:
        """Which are not as they must be, and how that is."""
        if self.classes is None:
            infinite = np.isinf(self.targets.astype(np.float64)).reshape(len(self.targets), -1)
            return np.asarray(infinite.any(axis=1)), "finite numbers or NaN"
        if self.targets.ndim != 1 or self.targets.dtype.kind not in "iu":
            raise ValueError(
                f"with classes, targets must be one integer an image, not {self.targets.dtype} of shape "
                f"{self.targets.shape}; leave classes out for rows of numbers"
            )
        return (self.targets < 0) | (self.targets >= self.classes), f"classes 0..{self.classes - 1}"


def prepared(
    pixels: Sequence[UInt8[Tensor, "height width 3"]], preprocess: Preprocess, device: torch.device
) -> Float[Tensor, "batch 3 height width"]:
    """A batch, normalised, channels-last, on the device; from pinned memory, so that no copy to a GPU is waited for.

    On the CPU one thread does it: the workers need the other cores, and OpenMP's threads wait for each other in a loop.
    With two threads, two cores and two workers everything took 1.2 times as long.
    """
    pinned = device.type == "cuda"
    together = torch.empty((len(pixels), *pixels[0].shape), dtype=torch.uint8, pin_memory=pinned)
    np.stack([each.numpy() for each in pixels], out=together.numpy())
    with one_thread() if device.type == "cpu" else nullcontext():
        return normalise(together.to(device, non_blocking=True).permute(0, 3, 1, 2), preprocess)


def erase(images: Float[Tensor, "batch 3 height width"], patches: Sequence[Patch | None]) -> None:
    """In place, the rectangles that were drawn."""
    for image, patch in zip(images, patches, strict=True):
        if patch is not None:
            top, left, noise = patch
            image[:, top : top + noise.shape[1], left : left + noise.shape[2]] = noise.to(images.device)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes in the calling thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
