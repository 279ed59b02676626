"""What becomes of a training: a fitted model with its history, or one of the ways in which it cannot go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backbones.training.trainee import Trainee

Row = dict[str, float]
"""Named numbers of one step or one epoch."""
SHOWN = 32
"""Items a message names at most."""


class Diverged(ArithmeticError):  # noqa: N818 - an outcome with a status of its own in records
    """The loss became NaN or infinite, or ran away. Says the step and the loss; no checkpoint keeps what it left.

    ``items`` are the names of those it was the loss of: of the micro-batches whose own loss is not finite, else all.
    """

    def __init__(self, step: int, loss: float, first: float, items: Sequence[str] = ()) -> None:
        shown = ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
        super().__init__(
            f"training diverged: the loss of step {step} is {loss:g} (it began at {first:g}); "
            "lower the learning rate, warm up longer, clip gradients, or look at the items of that step"
            + (f": {shown}" if items else "")
        )
        self.step, self.loss, self.first, self.items = step, loss, first, tuple(items)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.loss, self.first, self.items)


class OutOfMemory(RuntimeError):  # noqa: N818 - an outcome, as above
    """Memory ran out at ``device_batch`` items, and halving them is either impossible or for a restart to do."""

    def __init__(self, device_batch: int, reason: str) -> None:
        super().__init__(f"out of memory at a device batch of {device_batch}: {reason}")
        self.device_batch, self.reason = device_batch, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.device_batch, self.reason)


class CollapsedError(ArithmeticError):
    """Representations collapsed: whoever judged the model found them the same for all images, as ``findings`` say.

    ``epoch`` is the one it was judged after; the loop fills it in. No checkpoint keeps what it left.
    """

    def __init__(self, findings: Sequence[str], epoch: int | None = None) -> None:
        when = "" if epoch is None else f" by the end of epoch {epoch}"
        super().__init__(
            f"representations collapsed{when}: {'; '.join(findings)}; lower the learning rate, check what keeps the "
            "method from collapsing (negatives, predictor, centre, variance term, balanced codes; a larger batch, a "
            "slower teacher), or go on with alarm=warn"
        )
        self.findings, self.epoch = tuple(findings), epoch

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.findings, self.epoch)


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    ``model`` is what to use: the average of the weights where the recipe keeps one, else the trainee itself.
    ``history`` has a row a step (``step`` from 1, ``epoch`` from 1, ``loss``: mean over the global batch,
    ``learning_rate``: of the head), ``epochs`` a row an epoch (``epoch``, mean ``loss``, what ``evaluate`` said).
    ``notes`` say what a record must: a halved device batch, BatchNorm in split batches, how often it was resumed.
    ``images_per_second`` is over the steps of this process, loading included, evaluation and checkpoints not.
    """

    model: Trainee
    history: list[Row]
    epochs: list[Row]
    notes: dict[str, Any]
    steps: int
    images_per_second: float
