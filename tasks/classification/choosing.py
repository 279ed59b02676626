"""The best of many heads on val."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from tasks.base import Note
from tasks.classification.batches import Batch
from tasks.classification.descent import DescentSettings
from tasks.classification.metrics import negative_log_likelihood, top_k_correct

Scorer = Callable[[Float32[np.ndarray, "b dim"]], Float32[np.ndarray, "b heads classes"]]
"""Class scores of a batch of features by every head."""


@dataclass(frozen=True)
class HeadChoice:
    """``best`` counts in the grid; ``accuracy`` is top-1 on val a head, None where a head's scores are no numbers."""

    best: int
    accuracy: tuple[float | None, ...]

    @property
    def highest(self) -> float:
        """The chosen head's top-1."""
        return self.accuracy[self.best] or 0.0

    def notes(self, settings: DescentSettings) -> Iterator[Note]:
        """What every head reached, and whether a wider grid may hold better."""
        names = [f"learning rate {rate:.3g}, weight decay {decay:.3g}" for rate, decay in settings.grid()]
        yield Note("val_top1", dict(zip(names, self.accuracy, strict=True)))
        lost = [name for name, reached in zip(names, self.accuracy, strict=True) if reached is None]
        if lost:
            yield Note(
                "diverged", f"{len(lost)} of {len(names)} heads ended in NaN or infinity, the first at {lost[0]}"
            )
        for line in settings.at_edge(*settings.grid()[self.best]):
            yield Note("at_edge", line, True)


def choose_head(scorer: Scorer, heads: int, val: Iterator[Batch]) -> HeadChoice:
    """The head with the highest top-1; of equals the one with the lowest loss, then the first.

    Raises ``FloatingPointError`` where no head's scores are numbers.
    """
    correct, loss, rows = np.zeros(heads), np.zeros(heads), 0
    sound = np.ones(heads, dtype=bool)
    for features, labels in val:
        scores = scorer(features)
        sound &= np.isfinite(scores).all((0, 2))
        for head in np.flatnonzero(sound):
            correct[head] += top_k_correct(scores[:, head], labels, 1).sum()
            loss[head] += negative_log_likelihood(scores[:, head], labels).sum()
        rows += len(labels)
    if not sound.any():
        raise FloatingPointError(
            f"all {heads} heads ended in NaN or infinity; add learning rates below the lowest of the grid"
        )
    best = max(np.flatnonzero(sound).tolist(), key=lambda head: (correct[head], -loss[head], -head))
    accuracy = [float(one / rows) if is_sound else None for one, is_sound in zip(correct, sound, strict=True)]
    return HeadChoice(best, tuple(accuracy))
