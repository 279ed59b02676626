"""The parameter of every score, and the score a board shows: as published, or chosen on held-out unknown images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.base import Note
from tasks.ood.detection_metrics import auroc
from tasks.ood.scores.base import Learnt, Method, Seen

SHOWN = "msp"
"""What is shown where nothing can be chosen: the baseline of the field, which has no parameter to choose either."""


@dataclass(frozen=True)
class Chosen:
    """The score that is shown, the parameter of each score (0 where it has none), and the AUROCs that decided."""

    score: str
    parameters: Mapping[str, float]
    tried: Mapping[str, Mapping[str, float]]

    def notes(self, methods: Mapping[str, Method]) -> Iterator[Note]:
        """What the record says of the choice."""
        yield Note("headline_score", self.score)
        named = {name: method.parameter.name for name, method in methods.items() if method.parameter is not None}
        yield Note("score_parameters", {name: {each: self.parameters[name]} for name, each in named.items()})
        if self.tried:
            yield Note("chosen_by", "mean AUROC of val against the validation sets")
            yield Note("auroc_on_validation", self.tried)
        else:
            yield Note("chosen_by", "published defaults: there are no validation sets to choose on")


def published(methods: Mapping[str, Method], learnt: Learnt, fixed: Mapping[str, float]) -> Chosen:
    """The parameters that are fixed, and of other scores those of their authors."""
    values = {name: _first(name, method, learnt, fixed) for name, method in methods.items()}
    return Chosen(SHOWN if SHOWN in methods else next(iter(methods)), values, {})


def chosen_on(
    methods: Mapping[str, Method], learnt: Learnt, known: Seen, unknown: Sequence[Seen], fixed: Mapping[str, float]
) -> Chosen:
    """The highest mean AUROC over the sets; of equals what is published, then what was tried first."""
    parameters, tried, best = dict[str, float](), dict[str, dict[str, float]](), dict[str, float]()
    for name, method in methods.items():
        values = _tried(name, method, learnt, fixed)
        merits = _merits(method, learnt, known, unknown, values)
        place = int(np.argmax(merits))
        parameters[name], best[name] = values[place], merits[place]
        tried[name] = {f"{value:g}": merit for value, merit in zip(values, merits, strict=True)}
    order = [SHOWN, *methods] if SHOWN in methods else list(methods)
    return Chosen(max(order, key=lambda name: best[name]), parameters, tried)


def _first(name: str, method: Method, learnt: Learnt, fixed: Mapping[str, float]) -> float:
    if method.parameter is None:
        return 0.0
    return float(fixed[name] if name in fixed else method.parameter.published(learnt))


def _tried(name: str, method: Method, learnt: Learnt, fixed: Mapping[str, float]) -> list[float]:
    first = _first(name, method, learnt, fixed)
    others = [] if method.parameter is None or name in fixed else method.parameter.tried(learnt)
    return list(dict.fromkeys([first, *map(float, others)]))


def _merits(
    method: Method, learnt: Learnt, known: Seen, unknown: Sequence[Seen], values: Sequence[float]
) -> list[float]:
    scorer = method.fit(learnt)
    inside, outside = scorer(known, values), [scorer(each, values) for each in unknown]
    return [auroc(inside[at], [each[at] for each in outside]).value for at in range(len(values))]
