"""A module's buffers as they were before a step, for a forward pass moves them (BatchNorm) before the step is whole."""

import torch
from torch import Tensor, nn


class KeptBuffers:
    """Copies, on the device the buffers are on, in memory that is used again."""

    def __init__(self, module: nn.Module) -> None:
        self._places = [(owner._buffers, name) for owner in module.modules() for name in owner._buffers]
        self._kept: list[Tensor] = []
        self._moved = False

    def keep(self) -> None:
        """Remember them as they are now."""
        now = self._now()
        if len(now) == len(self._kept):
            _copy(self._kept, now)
        else:
            self._kept = [buffer.detach().clone() for buffer in now]
        self._moved = True

    def accept(self) -> None:
        """The step is whole: they stay as they are."""
        self._moved = False

    def restore(self) -> None:
        """Put them back as they were remembered, unless what happened since was accepted."""
        if self._moved:
            _copy(self._now(), self._kept)

    def _now(self) -> list[Tensor]:
        held = (buffers[name] for buffers, name in self._places)
        return [buffer for buffer in held if buffer is not None]


@torch.no_grad()
def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)
