"""Numbers of a step, read while the next one already runs: a GPU never waits for the host to look at a loss."""

import torch
from torch import Tensor


class Pulse:
    """Copies a small vector to the host in the background."""

    def __init__(self, values: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._host = values

    def read(self) -> list[float]:
        """Waits for this step, no longer."""
        if self._event is not None:
            self._event.synchronize()
        return [float(value) for value in self._host]
