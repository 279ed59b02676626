"""What the loop trains: a module that answers a batch with its loss."""

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Trainee(nn.Module, ABC):
    """A model with its objective: a fine-tuned backbone with a head, a detector, a self-supervised method.

    ``whole_batch``: the loss compares the items of a batch with each other (contrast, covariance), so a device's share
    of a step is one micro-batch, never several.
    """

    whole_batch: bool = False

    @abstractmethod
    def forward(self, batch: Any) -> Tensor:
        """The mean loss over the items of a (micro-)batch, a scalar: a step averages it over the global batch."""

    @abstractmethod
    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """All trained parameters in groups named and ordered by depth, input first, head last."""

    def steady(self) -> list[nn.Parameter]:
        """Trained parameters whose learning rate stays at its peak, whatever the schedule (SimSiam's predictor)."""
        return []


class Follower(nn.Module):
    """A module without gradients whose weights follow others' (a teacher): it stays in the training's own mode, where
    what is frozen goes to evaluation mode.
    """


class Whole(nn.Module):
    """A module whose own parameters every process keeps all of where weights are sharded: a queue, a memory, which
    have no gradients and are changed row by row, on each process alike.
    """


@runtime_checkable
class Recomputes(Protocol):
    """A trainee that can save memory by computing activations again in the backward pass (gradient checkpointing)."""

    def recompute(self) -> None:
        """From now on. Must change no number: random draws are to be the same the second time."""
        ...


@runtime_checkable
class Stepped(Protocol):
    """A trainee with state of its own that moves from step to step (a teacher, a queue, a centre)."""

    def before_update(self) -> None:
        """The step's gradient is whole, the weights are as in the forward pass: what is to stay loses its gradient."""
        ...

    def after_update(self) -> None:
        """The weights have moved. Called once a step, however many micro-batches it had."""
        ...
