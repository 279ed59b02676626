"""Batches of 8-bit images through a frozen backbone: normalised on the device, checked, back in float32."""

from threading import Lock
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Preprocess
from backbones.feature_checks import check_contract, is_out_of_memory
from backbones.inference import Frozen
from backbones.preprocessing import normalise

METHODS = {"pooled": "embed", "logits": "classify", "dense": "feature_maps", "gem": "feature_maps"}


class Forward:
    """Calls any copy of one backbone, from any thread. ``batch_size`` only ever shrinks; ``notes`` say when."""

    def __init__(
        self,
        preprocess: Preprocess,
        device: torch.device,
        precision: Literal["float32", "bfloat16", "float16"],
        batch_size: int,
    ) -> None:
        self.preprocess, self.device, self.batch_size = preprocess, device, batch_size
        self.notes: list[str] = []
        self._dtype = getattr(torch, precision)
        self._shrinking = Lock()

    def __call__(self, frozen: Frozen, batch: UInt8[Tensor, "batch 3 height width"]) -> NDArray[np.float32]:
        """The batch's features. Out of memory, the batch size is halved for good, and noted."""
        while True:
            size = self.batch_size
            try:
                return np.concatenate([self._embed(frozen, part) for part in torch.split(batch, size)])
            except (RuntimeError, MemoryError) as error:
                tried = min(size, len(batch))
                if tried == 1 or not is_out_of_memory(error):
                    raise
                self._shrink(tried)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _shrink(self, tried: int) -> None:
        with self._shrinking:
            if self.batch_size > tried // 2:  # else another thread met the same wall first
                self.batch_size = tried // 2
                self.notes.append(f"out of memory at a batch of {tried}; went on with {self.batch_size}")

    def _embed(self, frozen: Frozen, batch: UInt8[Tensor, "batch 3 height width"]) -> NDArray[np.float32]:
        moved = batch.to(self.device, non_blocking=True, memory_format=frozen.memory_format)
        images = normalise(moved, self.preprocess)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32),
        ):
            outputs = frozen.call(images)
        method = METHODS.get(frozen.layer, "read")
        return check_contract(outputs, len(batch), frozen.backbone.card.name, method).float().cpu().numpy()
