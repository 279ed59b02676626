"""One pass of images through a frozen backbone: threads decode, the model runs, batches come out in order."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.feature_checks import check_contract, is_out_of_memory
from backbones.images import Images, UnreadableImage, decode
from backbones.inference import Layer, arrange
from backbones.preprocessing import choose, fit_by, normalise

SAMPLES = 4
"""Images on which the fast preprocessing is held against PIL, spread over the source."""
BATCH_SIZES = {"cpu": 32, "cuda": 256, "mps": 64}


class FeatureRun:
    """A backbone, frozen and arranged on a device, with the threads that feed it. Use it in a ``with`` statement.

    Threads, not worker processes: decoding and resizing release the interpreter lock, nothing is copied between
    processes, and nothing has to start. On a CPU they decode one batch and then leave every core to the model, for
    OpenMP waits for its slowest thread (reasoned, not measured against overlap). On other devices they run ahead.
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
        self.backbone, self.images, self.layer, self.device = backbone.to(device), images, layer, device
        self.batch_size = batch_size or BATCH_SIZES.get(device.type, 32)
        self.notes: list[str] = []
        self._precision = precision
        spread = np.unique(np.linspace(0, len(images) - 1, SAMPLES).astype(int)).tolist()
        samples = [self._decoded(row) for row in spread]
        self.decoding = choose(backbone.preprocess, samples)
        self._fit = fit_by(self.decoding, backbone.preprocess)
        sample = torch.stack([self._fit(image) for image in samples[:2]]).contiguous()
        self.frozen = arrange(backbone, layer, normalise(sample.to(device), backbone.preprocess))
        self._pool = _single_threaded_pool(max(1, workers))

    def __enter__(self) -> "FeatureRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def outputs(self, blocks: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
        """Features of these rows in order, a batch at a time, in float32. No batch reaches over the end of a block.

        So a block holds the same bits whichever blocks were there before: sums depend on a batch's size.
        """
        for batch in self.batches(blocks):
            yield self._forward(batch)

    def batches(self, blocks: Sequence[Sequence[int]]) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
        """Decoded and fitted images of these rows, channels-last; the next batches are already under way."""
        ahead = 0 if self.device.type == "cpu" else 2
        waiting: deque[tuple[Tensor, list[Future[None]]]] = deque()
        size = self.batch_size
        for rows in [block[start : start + size] for block in blocks for start in range(0, len(block), size)]:
            waiting.append(self._submit(rows))
            if len(waiting) > ahead:
                yield _settled(*waiting.popleft())
        while waiting:
            yield _settled(*waiting.popleft())

    def _submit(self, rows: Sequence[int]) -> tuple[Tensor, list[Future[None]]]:
        batch = torch.empty(
            (len(rows), 3, *self.backbone.preprocess.size),
            dtype=torch.uint8,
            memory_format=torch.channels_last,
            pin_memory=self.device.type == "cuda",
        )
        return batch, [self._pool.submit(self._load, row, batch[at]) for at, row in enumerate(rows)]

    def _load(self, row: int, into: Tensor) -> None:
        into.copy_(self._fit(self._decoded(row)))

    def _decoded(self, row: int) -> UInt8[Tensor, "3 height width"]:
        try:
            return decode(self.images.read(row))
        except UnreadableImage as error:
            raise UnreadableImage(f"{self.images.names[row]!r} {error}") from error

    def _forward(self, batch: UInt8[Tensor, "batch 3 height width"]) -> NDArray[np.float32]:
        """The batch's features. Out of memory, the batch size is halved for good, and noted."""
        while True:
            try:
                parts = [self._embed(part) for part in torch.split(batch, self.batch_size)]
                return np.concatenate(parts)
            except (RuntimeError, MemoryError) as error:
                tried = min(self.batch_size, len(batch))
                if tried == 1 or not is_out_of_memory(error):
                    raise
                self.batch_size = tried // 2
                self.notes.append(f"out of memory at a batch of {tried}; went on with {self.batch_size}")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _embed(self, batch: UInt8[Tensor, "batch 3 height width"]) -> NDArray[np.float32]:
        moved = batch.to(self.device, non_blocking=True, memory_format=self.frozen.memory_format)
        images: Float[Tensor, "batch 3 height width"] = normalise(moved, self.backbone.preprocess)
        dtype = getattr(torch, self._precision)
        with torch.inference_mode(), torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            outputs = self.frozen.call(images)
        method = "embed" if self.layer == "pooled" else "classify"
        checked = check_contract(outputs, len(batch), self.backbone.card.name, method)
        return checked.float().cpu().numpy()


def _settled(batch: Tensor, futures: list[Future[None]]) -> Tensor:
    for future in futures:
        future.result()
    return batch


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
