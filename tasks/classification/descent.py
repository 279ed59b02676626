"""What training heads over batches of stored features takes: how long, how large a batch, and a grid to choose from."""

from itertools import product
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from backbones.training.schedule import half_cosine
from tasks.datasets.partition import Part

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DescentSettings:
    """One head for every pair of a learning rate and a weight decay, all trained on the same batches at once.

    The learning rate rises linearly from zero over ``warmup_epochs`` and falls along half a cosine to zero, step by
    step. An epoch is a permutation of the images that follows from seed and epoch alone, cut into whole batches; what
    is left over is dropped.
    """

    learning_rates: tuple[Rate, ...] = Field(default=(1e-3,), min_length=1)
    weight_decays: tuple[Decay, ...] = Field(default=(0.0,), min_length=1)
    batch: int = Field(default=256, ge=2)
    epochs: int = Field(default=10, ge=1)
    warmup_epochs: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _each_once_and_time_to_learn(self) -> "DescentSettings":
        for name in ("learning_rates", "weight_decays"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from one another, got {values}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be fewer than epochs ({self.epochs})")
        return self

    def grid(self) -> list[tuple[float, float]]:
        """Every (learning rate, weight decay), smallest first."""
        return list(product(sorted(self.learning_rates), sorted(self.weight_decays)))

    def factor(self, epoch: float) -> float:
        """Of the learning rate, after that many epochs.

        >>> DescentSettings(epochs=10, warmup_epochs=2).factor(1.0), DescentSettings().factor(5.0)
        (0.5, 0.5)
        """
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        return half_cosine(epoch, self.warmup_epochs, float(self.epochs))

    def too_large(self, train: Part, name: str) -> str | None:
        """Why no batch can be had of these images; None where one can."""
        if self.batch <= len(train):
            return None
        return f"dataset {name!r}: a batch of {self.batch} is more than its {len(train)} train images; lower batch"

    def at_edge(self, learning_rate: float, weight_decay: float) -> list[str]:
        """What of the chosen is at an end of the grid, beyond which may be better. No weight decay is none."""
        chosen = (
            ("learning rate", learning_rate, self.learning_rates),
            ("weight decay", weight_decay, self.weight_decays),
        )
        return [
            f"the best {what}, {value:.3g}, is at the edge of the grid"
            for what, value, values in chosen
            if len(values) > 1 and value in (min(values), max(values)) and value > 0
        ]
