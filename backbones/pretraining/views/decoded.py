"""Decoded images: all of them in memory where they fit, else one by one as they are asked for."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.images import Images, decode_row
from backbones.preprocessing import resize
from backbones.pretraining.views.cutting import Pixels

LONGEST_SIDE = 512
"""Pixels; larger images are reduced to it, antialiased, so that a batch of photographs does not fill the memory."""
SAMPLE = 64
"""Images whose size tells that of all."""


class Decoded:
    """Images ``rows`` of a source, in that order. Kept if all take at most ``memory_gb`` (2^30 bytes) together.

    They are decoded before anything else is done, so that worker processes share them; what is sent to another process
    by pickling is the recipe, not the pixels. Raises ``UnreadableImage`` naming an image that cannot be decoded.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64], memory_gb: float) -> None:
        self.images, self.rows, self.memory_gb = images, rows, memory_gb
        self._kept: list[Pixels] | None = self._all() if self._fit() else None

    def __getitem__(self, index: int) -> Pixels:
        return self._decode(index) if self._kept is None else self._kept[index]

    def __getstate__(self) -> dict[str, Any]:
        return {"images": self.images, "rows": self.rows, "memory_gb": self.memory_gb}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _decode(self, index: int) -> Pixels:
        image = decode_row(self.images, int(self.rows[index]))
        height, width = image.shape[-2:]
        if max(height, width) > LONGEST_SIDE:
            share = LONGEST_SIDE / max(height, width)
            image = resize(image, (max(1, round(height * share)), max(1, round(width * share))), "bilinear")
        return np.ascontiguousarray(image.permute(1, 2, 0).numpy())

    def _fit(self) -> bool:
        count = len(self.rows)
        sample = [self._decode(index).nbytes for index in range(0, count, -(-count // SAMPLE))]
        return count * sum(sample) / len(sample) <= self.memory_gb * 2**30

    def _all(self) -> list[Pixels]:
        """Of one size, in one array."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            found = list(threads.map(self._decode, range(len(self.rows))))
        alike = all(each.shape == found[0].shape for each in found)
        return list(np.stack(found)) if alike else found
