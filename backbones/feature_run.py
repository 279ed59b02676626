"""One pass of images through a frozen backbone: threads decode, the model runs, batches come out in order."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.forward import Forward
from backbones.images import Images, decode_row
from backbones.inference import Frozen, Layer, arrange
from backbones.preprocessing import choose, fit_by, normalise
from backbones.replicas import replicas

SAMPLES = 4
"""Images on which the fast preprocessing is held against PIL, spread over the source."""
BATCH_SIZES = {"cpu": 32, "cuda": 256, "mps": 64}
BATCH_OF_A_CORE = 8
"""Images of 224 pixels: 4 to 8 were fastest of 4 to 32, for convolutions and transformers alike."""

Answer = TypeVar("Answer")


class FeatureRun:
    """A backbone, frozen and arranged on a device, with the threads that feed it. Use it in a ``with`` statement.

    Threads, not worker processes: decoding and resizing release the interpreter lock, nothing is copied between
    processes, and nothing has to start. On a CPU with a worker for every core each of them decodes a batch of its own
    and puts it through its own copy of the model. Where there can be no copies the workers decode a batch and then
    leave every core to the model, for OpenMP waits for its slowest thread. On other devices they run ahead.
    """

    def __init__(
        self,
        backbone: Backbone,
        images: Images,
        layer: Layer,
        device: torch.device,
        workers: int,
        precision: Literal["float32", "bfloat16", "float16"],
        batch_size: int | None,
    ) -> None:
        self.backbone, self.images, self.device = backbone.to(device), images, device
        workers = max(1, workers)
        samples = [decode_row(images, row) for row in sampled(len(images))]
        self.decoding = choose(backbone.preprocess, samples)
        self._fit = fit_by(self.decoding, backbone.preprocess)
        fitted = torch.stack([self._fit(image) for image in samples]).contiguous()
        self.sample = normalise(fitted.to(device), backbone.preprocess)
        self.frozen = arrange(backbone, layer, self.sample[:2])
        one_a_core = device.type == "cpu" and workers >= torch.get_num_threads() > 1
        copies = replicas(self.frozen, self.sample[:2], workers) if one_a_core else ()
        self._copies: SimpleQueue[Frozen] | None = _queue(copies) if copies else None
        size = batch_size or (_batch_of_a_core(backbone) if copies else BATCH_SIZES.get(device.type, 32))
        self.forward = Forward(backbone.preprocess, device, precision, size)
        self._ahead = 2 * workers if copies else 0 if device.type == "cpu" else 2
        self._pool = _single_threaded_pool(workers)

    def __enter__(self) -> "FeatureRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def outputs(self, blocks: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
        """Features of these rows in order, a batch at a time, in float32. No batch reaches over the end of a block.

        So a block holds the same bits whichever blocks were there before: sums depend on a batch's size.
        """
        if self._copies is None:
            yield from (self.forward(self.frozen, batch) for batch in self.batches(blocks))
            return
        under_way = (self._pool.submit(self._features, rows, self._copies) for rows in self._cut(blocks))
        yield from (future.result() for future in _keeping_ahead(under_way, self._ahead))

    def batches(self, blocks: Sequence[Sequence[int]]) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
        """Decoded and fitted images of these rows, channels-last; the next batches are already under way."""
        under_way = (self._submit(rows) for rows in self._cut(blocks))
        for batch, futures in _keeping_ahead(under_way, self._ahead):
            for future in futures:
                future.result()
            yield batch

    def _cut(self, blocks: Sequence[Sequence[int]]) -> Iterator[Sequence[int]]:
        size = self.forward.batch_size
        return (block[start : start + size] for block in blocks for start in range(0, len(block), size))

    def _features(self, rows: Sequence[int], copies: "SimpleQueue[Frozen]") -> NDArray[np.float32]:
        """All of a batch on one core, with a copy of the model that nobody else uses meanwhile."""
        batch = self.filled(rows)
        mine = copies.get()
        try:
            return self.forward(mine, batch)
        finally:
            copies.put(mine)

    def filled(self, rows: Sequence[int]) -> UInt8[Tensor, "batch 3 height width"]:
        """Decoded and fitted images of these rows, channels-last, all by the calling thread."""
        batch = self._empty(len(rows))
        for at, row in enumerate(rows):
            self._load(row, batch[at])
        return batch

    def _submit(self, rows: Sequence[int]) -> tuple[Tensor, list[Future[None]]]:
        batch = self._empty(len(rows))
        return batch, [self._pool.submit(self._load, row, batch[at]) for at, row in enumerate(rows)]

    def _empty(self, rows: int) -> UInt8[Tensor, "batch 3 height width"]:
        return torch.empty(
            (rows, 3, *self.backbone.preprocess.size),
            dtype=torch.uint8,
            memory_format=torch.channels_last,
            pin_memory=self.device.type == "cuda",
        )

    def _load(self, row: int, into: Tensor) -> None:
        into.copy_(self._fit(decode_row(self.images, row)))


def sampled(count: int) -> list[int]:
    """:data:`SAMPLES` of ``count`` images, the first and the last among them."""
    return [int(row) for row in np.unique(np.linspace(0, count - 1, SAMPLES).astype(int))]


def _keeping_ahead(under_way: Iterable[Answer], ahead: int) -> Iterator[Answer]:
    """What was started, in order, each handed out when ``ahead`` more have been started."""
    waiting: deque[Answer] = deque()
    for started in under_way:
        waiting.append(started)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _queue(copies: Sequence[Frozen]) -> "SimpleQueue[Frozen]":
    queue: SimpleQueue[Frozen] = SimpleQueue()
    for each in copies:
        queue.put(each)
    return queue


def _batch_of_a_core(backbone: Backbone) -> int:
    """Fewer of larger images, so that what every core holds at once stays bounded, and more of smaller ones."""
    return max(1, min(BATCH_SIZES["cpu"], BATCH_OF_A_CORE * 224**2 // math.prod(backbone.preprocess.size)))


def _single_threaded_pool(workers: int) -> ThreadPoolExecutor:
    """Threads that each use one core: torch would else give every one of them a team of its own.

    ``set_num_threads`` is the calling thread's setting and also the default of threads to come, so ours is put back.
    """
    mine = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "decode", initializer=torch.set_num_threads, initargs=(1,))
    barrier = [pool.submit(torch.get_num_threads) for _ in range(workers)]
    for started in barrier:
        started.result()
    torch.set_num_threads(mine)
    return pool
