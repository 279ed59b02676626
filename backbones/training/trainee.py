"""What the loop trains: a module that answers a batch with its loss."""

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Trainee(nn.Module, ABC):
    """A model with its objective: a fine-tuned backbone with a head, a detector, a self-supervised method."""

    @abstractmethod
    def forward(self, batch: Any) -> Tensor:
        """The mean loss over the items of a (micro-)batch, a scalar: a step averages it over the global batch."""

    @abstractmethod
    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """All trained parameters in groups named and ordered by depth, input first, head last."""


@runtime_checkable
class Recomputes(Protocol):
    """A trainee that can save memory by computing activations again in the backward pass (gradient checkpointing)."""

    def recompute(self) -> None:
        """From now on. Must change no number: random draws are to be the same the second time."""
        ...
