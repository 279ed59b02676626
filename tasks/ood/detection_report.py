"""What detection yields from its scores: every set's metrics by every score, means over near and far, and the items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.base import Outputs, Score
from tasks.classification.metrics import top_k_correct
from tasks.datasets.partition import Part
from tasks.ood.choosing import Chosen
from tasks.ood.detection_metrics import METRICS
from tasks.ood.scores.base import Learnt, Method, Seen, Values

HOME = "in-distribution"
UNKNOWN_ROLES = ("near", "far")


@dataclass(frozen=True)
class Asked:
    """A set of images, by role: in-distribution, shifted, near or far. Labels mean something for the first two."""

    name: str
    role: str
    part: Part
    seen: Seen


def detection_scores(
    methods: Mapping[str, Method], choice: Chosen, learnt: Learnt, asked: Sequence[Asked]
) -> Iterator[Score | Outputs]:
    """The headline first, then all scores of each set (in-distribution first among ``asked``), then the items."""
    found = {name: _scored(name, method, learnt, asked, choice.parameters[name]) for name, method in methods.items()}
    home, shifted = asked[0], any(each.role == "shifted" for each in asked)
    for full_spectrum in (False, True) if shifted else (False,):
        yield from _shown(found[choice.score], asked, full_spectrum)
        for name, values in found.items():
            yield from _compared(name, values, asked, full_spectrum)
    correct = top_k_correct(home.seen.logits, home.part.labels, 1)
    yield Score("top1", float(correct.mean()), correct, HOME)
    for place, each in enumerate(asked):
        columns = {"item": np.asarray(each.part.names, dtype=object)}
        if each.role not in UNKNOWN_ROLES:
            columns["label"] = each.part.labels
        yield Outputs(columns | {f"known:{name}": values[place] for name, values in found.items()}, each.name)


def _scored(name: str, method: Method, learnt: Learnt, asked: Sequence[Asked], parameter: float) -> list[Values]:
    scorer = method.fit(learnt)
    found = [scorer(each.seen, [parameter])[0] for each in asked]
    for each, values in zip(asked, found, strict=True):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise FloatingPointError(
                f"score {name!r} of {len(bad)} of {len(values)} images of {each.name!r} is NaN or infinity "
                f"(first: {each.part.names[bad[0]]!r}); no metric is computed from it"
            )
    return found


def _known(values: Sequence[Values], asked: Sequence[Asked], full_spectrum: bool) -> Values:
    roles = (HOME, "shifted") if full_spectrum else (HOME,)
    return np.concatenate([value for value, each in zip(values, asked, strict=True) if each.role in roles])


def _unknown(values: Sequence[Values], asked: Sequence[Asked]) -> dict[str, dict[str, Values]]:
    """The values of each set of a role that has any."""
    sets = {
        role: {each.name: value for value, each in zip(values, asked, strict=True) if each.role == role}
        for role in UNKNOWN_ROLES
    }
    return {role: each for role, each in sets.items() if each}


def _shown(values: Sequence[Values], asked: Sequence[Asked], full_spectrum: bool) -> Iterator[Score]:
    """The metrics of the score that is shown, near and far weighing the same, and the sets of either too."""
    roles = _unknown(values, asked)
    shares = [1 / (len(roles) * len(sets)) for sets in roles.values() for _ in sets]
    every = [value for sets in roles.values() for value in sets.values()]
    yield from _scores("", _known(values, asked, full_spectrum), every, "test", full_spectrum, shares)


def _compared(name: str, values: Sequence[Values], asked: Sequence[Asked], full_spectrum: bool) -> Iterator[Score]:
    known = _known(values, asked, full_spectrum)
    for role, sets in _unknown(values, asked).items():
        for each, unknown in sets.items():
            yield from _scores(f":{name}", known, [unknown], each, full_spectrum)
        yield from _scores(f":{name}", known, list(sets.values()), role, full_spectrum)


def _scores(
    suffix: str,
    known: Values,
    unknown: Sequence[Values],
    split: str,
    full_spectrum: bool,
    shares: Sequence[float] = (),
) -> Iterator[Score]:
    for metric, function in METRICS.items():
        estimate = function(known, unknown, shares)
        name = f"{'full_spectrum_' * full_spectrum}{metric}{suffix}"
        yield Score(name, estimate.value, None, split, metric != "fpr95", interval=estimate.interval)
