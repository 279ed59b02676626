"""Hyper-parameters chosen on val, every backbone with the same budget: a grid, a random search, successive halving."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from tasks.race import Choice, Race, Trial, Tried

Train = Callable[[Choice, int, str], float]
"""``train(choice, epochs, name)``: how good it is on val after so many epochs; the name is its folder's."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Search:
    """``trials`` choices out of ``space`` are tried on val and the best one is trained; 1 tries nothing.

    ``space`` names settings and the values to try, ``learning_rate: [1e-4, 1e-3]``. The task's own settings are always
    the first trial, so the gain is known. ``grid`` takes the first of all combinations in order, ``random`` a seeded
    choice of them; both train each in full. ``halving`` (Jamieson and Talwalkar 2016) draws like random, trains all for
    a fraction of the epochs, goes on with the better half for twice as many, and so on up to half of the epochs; each
    round trains anew, with its schedule as short as itself.
    """

    trials: int = Field(default=1, ge=1, le=256)
    search: Literal["grid", "random", "halving"] = "halving"
    space: Mapping[str, tuple[float, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _there_is_a_space(self) -> "Search":
        if self.trials > 1 and not self.space:
            raise ValueError(f"trials is {self.trials}, but space names no setting to try other values of")
        if empty := [name for name, values in self.space.items() if not values]:
            raise ValueError(f"space has no values for {', '.join(empty)}")
        return self


@plain_dataclass(frozen=True)
class Found:
    """The best choice and every trial on the way to it, in order."""

    choice: Choice
    tried: tuple[Tried, ...]

    @property
    def gain(self) -> float | None:
        """Merit of the choice over the task's own settings in the last round both were in; None where one diverged."""
        rounds = {each.epochs: each.merit for each in self.tried if not each.choice}
        last = {each.epochs: each.merit for each in self.tried if each.choice == self.choice}
        shared = max(set(rounds) & set(last))
        own, chosen = rounds[shared], last[shared]
        return None if own is None or chosen is None else chosen - own


def candidates(search: Search, seed: int) -> list[Choice]:
    """What is tried, in order; ``{}``, the task's own settings, first.

    >>> candidates(Search(3, "grid", {"learning_rate": (0.1, 0.2)}), seed=0)
    [{}, {'learning_rate': 0.1}, {'learning_rate': 0.2}]
    """
    combined = [dict(zip(search.space, values, strict=True)) for values in product(*search.space.values())]
    order: Any = range(len(combined))
    if search.search != "grid":
        order = np.random.default_rng(seed).permutation(len(combined))
    return [{}, *(combined[at] for at in order)][: search.trials]


def rounds(search: Search, count: int, epochs: int) -> list[tuple[int, int]]:
    """(candidates, epochs of each) of every round.

    >>> rounds(Search(4, "halving", {"learning_rate": (1.0,)}), count=4, epochs=8)
    [(4, 2), (2, 4)]
    """
    if search.search != "halving":
        return [(count, epochs)]
    sizes = [count]
    while sizes[-1] > 2:
        sizes.append((sizes[-1] + 1) // 2)
    return [(size, max(1, round(epochs / 2 ** (len(sizes) - at)))) for at, size in enumerate(sizes)]


def find(search: Search, epochs: int, seed: int, train: Train, race: Race) -> Found:
    """Try, keep the better ones, and so on; of equals the one that was drawn first. What diverged is the worst.

    The trials of a round and their epochs are the same for every backbone and whoever runs them. Where all diverge the
    task's own settings are left, and the training that is tested says what becomes of them.
    """
    left, tried = candidates(search, seed), list[Tried]()
    if len(left) == 1:
        race((), 0)  # nothing to try: here whoever only helps leaves
        return Found(left[0], ())
    planned = rounds(search, len(left), epochs)
    following = [count for count, _ in planned[1:]] + [0]
    for at, ((count, length), going_on) in enumerate(zip(planned, following, strict=True), start=1):
        names = [f"round-{at}-trial-{number}" for number in range(1, count + 1)]
        scored = race([Trial(*each, length, train) for each in zip(names, left, strict=False)], going_on)
        tried += scored
        left = [each.choice for each in sorted(scored, key=_worst_last)]
    return Found(left[0], tuple(tried))


def _worst_last(tried: Tried) -> float:
    return math.inf if tried.merit is None else -tried.merit
