"""A model's outputs on images as it would be evaluated: deterministic preprocessing, eval mode, and back."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from backbones.base import Preprocess
from backbones.feature_run import BATCH_SIZES, sampled
from backbones.images import Images, decode_row
from backbones.preprocessing import choose, fit_by
from backbones.training.execution import Execution
from backbones.training.images_stream import prepared
from backbones.training.loader import Wanted, load


def predictions(
    model: nn.Module,
    images: Images,
    rows: Sequence[int] | NDArray[np.integer],
    preprocess: Preprocess,
    execution: Execution,
) -> Float32[np.ndarray, "rows outputs"]:
    """What ``model`` answers, a row an image, in the order of ``rows``; on the device its parameters are on.

    Each of its modules is in training or evaluation mode afterwards as it was before. Features of frozen backbones are
    made by ``features`` instead, which folds and freezes the model and so cannot be run in the middle of a training.
    """
    if len(rows) == 0:
        raise ValueError("there are no images to evaluate: rows is empty")
    device = next(model.parameters()).device
    stream = _Evaluated(images, np.asarray(rows), preprocess)
    dtype = getattr(torch, execution.precision)
    size = execution.device_batch or BATCH_SIZES.get(device.type, 32)
    wanted = [Wanted(0, tuple(range(start, min(start + size, len(rows))))) for start in range(0, len(rows), size)]
    with (
        evaluating(model),
        torch.inference_mode(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        closing(load(stream, wanted, execution.workers, execution.stall_seconds)) as batches,
    ):
        return np.concatenate([model(stream.batch(items, 0, device)).float().cpu().numpy() for items in batches])


class _Evaluated:
    """The images through ``preprocess``, by the same way as features are made of them."""

    def __init__(self, images: Images, rows: NDArray[np.integer], preprocess: Preprocess) -> None:
        self.images, self.rows, self.preprocess = images, rows, preprocess
        samples = [decode_row(images, int(rows[at])) for at in sampled(len(rows))]
        self._fit = fit_by(choose(preprocess, samples), preprocess)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> Sequence[str]:
        return [self.images.names[row] for row in self.rows.tolist()]

    def load(self, index: int, epoch: int) -> UInt8[Tensor, "height width 3"]:
        return self._fit(decode_row(self.images, int(self.rows[index]))).permute(1, 2, 0).contiguous()

    def batch(self, items: Sequence[Tensor], step: int, device: torch.device) -> Tensor:
        return prepared(items, self.preprocess, device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module in the mode it was in before."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
