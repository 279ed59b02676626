"""What was found out about a dataset, kept as long as it lives: plans ask the same for each of their backbones."""

import functools
import weakref
from collections.abc import Callable, Hashable
from typing import Concatenate, ParamSpec, TypeVar

from tasks.datasets.base import Dataset

P = ParamSpec("P")
T = TypeVar("T")


def asked_once(function: Callable[Concatenate[Dataset, P], T]) -> Callable[Concatenate[Dataset, P], T]:
    """The same function, computed once for a dataset and the same other arguments, which must be hashable.

    By which object the dataset is, for two of one name and manifest may be of different rows in a test, and comparing
    millions of rows would take as long. What it returns is shared: nobody may change it.
    """
    known: dict[int, dict[Hashable, T]] = {}

    @functools.wraps(function)
    def answer(dataset: Dataset, /, *given: P.args, **named: P.kwargs) -> T:
        if id(dataset) not in known:
            known[id(dataset)] = {}
            weakref.finalize(dataset, known.pop, id(dataset), None)
        answers, question = known[id(dataset)], (given, tuple(sorted(named.items())))
        if question not in answers:
            answers[question] = function(dataset, *given, **named)
        return answers[question]

    return answer
