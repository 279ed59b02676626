"""What questions with several test sets share: the top1 of each, and the mean in which each weighs the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.base import Note, Outputs, Score

Answers = Sequence[Score | Outputs | Note]


@dataclass
class SeveralSets:
    """Collects what each set was answered, to end with ``ood_top1`` over all of them."""

    correct: list[np.ndarray] = field(default_factory=list)
    items: list[str] = field(default_factory=list)

    def add(self, name: str, answers: Answers) -> None:
        """The answers of one set, a report of its images among them."""
        self.correct.append(items_of(top1(answers)))
        self.items += [f"{name}/{item}" for item in _names(answers)]

    def mean(self) -> Iterator[Score | Outputs]:
        """``ood_top1`` and whose its items are, set by set: they weigh so that each set counts the same."""
        total = sum(map(len, self.correct))
        items = np.concatenate([one * total / (len(self.correct) * len(one)) for one in self.correct])
        yield Score("ood_top1", float(np.mean([one.mean() for one in self.correct])), items)
        yield Outputs({"item": np.asarray(self.items, dtype=object)})


def top1(answers: "Answers | Iterator[Score | Outputs]") -> Score:
    """The top1 among the answers."""
    return next(answer for answer in answers if isinstance(answer, Score) and answer.metric == "top1")


def items_of(score: Score) -> np.ndarray:
    """What each item gave. Raises ``ValueError`` for a score that is no mean over items."""
    if score.per_sample is None:
        raise ValueError(f"{score.metric} came without its items")
    return score.per_sample


def _names(answers: Answers) -> list[str]:
    names: list[str] = next(answer.columns["item"] for answer in answers if isinstance(answer, Outputs)).tolist()
    return names
