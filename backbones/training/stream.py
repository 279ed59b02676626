"""What the loop reads: items by index, the same whoever loads them, and how items become a batch."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch


@runtime_checkable
class Stream(Protocol):
    """A training set. All chance in it comes from its own seed and the arguments, never from a global generator.

    So an item is the same for any number of workers, devices and restarts. The global batch of a step is an ordered
    list of rows; micro-batches are runs of it of even length, and neighbours (2 j, 2 j + 1) always stay together, so
    that what mixes items can mix those two.
    """

    def __len__(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """A name for each item, for messages."""
        ...

    def load(self, index: int, epoch: int) -> Any:
        """One item, decoded and augmented as in this epoch; called in worker processes."""
        ...

    def batch(self, items: Sequence[Any], step: int, device: torch.device) -> Any:
        """Items of one micro-batch on the device, as the trainee takes them (normalised, mixed as in this step)."""
        ...
