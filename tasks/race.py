"""The trials of a round of a search, and the seam through which several processes may share them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from backbones.training.outcomes import Diverged

Choice = dict[str, float]
"""Values for some of a task's settings, by name."""


@dataclass(frozen=True)
class Tried:
    """One trial: what was chosen, for how many epochs, how good it was on val; None where it ``diverged``: says how."""

    choice: Choice
    epochs: int
    merit: float | None
    diverged: str | None = None


@dataclass(frozen=True)
class Trial:
    """A training to be run, in the folder of its name."""

    name: str
    choice: Choice
    epochs: int
    train: Callable[[Choice, int, str], float]

    def run(self) -> Tried:
        """Train. That it diverges is an answer too; whatever else goes wrong is raised."""
        try:
            merit = float(self.train(self.choice, self.epochs, self.name))
        except Diverged as error:
            return Tried(self.choice, self.epochs, None, str(error))
        if not math.isfinite(merit):
            return Tried(self.choice, self.epochs, None, f"it ends with {merit} on val")
        return Tried(self.choice, self.epochs, merit)


@runtime_checkable
class Race(Protocol):
    """Has every trial of a round run, by whomever, and answers all of them in their order.

    ``going_on`` is how many of them the next round is made of; 0 after the last. The answers are the same for all that
    take part. Who only helps never comes back from a round in which it can be of no more use: it raises.
    """

    def __call__(self, trials: Sequence[Trial], going_on: int) -> list[Tried]: ...


def in_turn(trials: Sequence[Trial], going_on: int) -> list[Tried]:
    """In this process, one after the other."""
    return [trial.run() for trial in trials]
