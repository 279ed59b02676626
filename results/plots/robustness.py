"""Accuracy against what an attacker may change: robust accuracy by budget, a panel a norm."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from results.plots.base import Evidence, Picture, by_setting, label, legend, looks, panels, values
from results.record import Record

NORMS = {"linf": "largest change of a pixel (of 1)", "l2": "Euclidean length of the change"}

_SPLIT = re.compile(r"([a-z0-9]+)-(([0-9.]+)(?:/([0-9.]+))?)")

Curve = list[tuple[float, float, str]]
"""(budget, accuracy, the budget as written), smallest budget first."""


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure a setting with ``robust_accuracy``, a line a backbone; budget 0 is ``accuracy`` of the split clean."""
    asked = [record for record in evidence.records if any(row.metric == "robust_accuracy" for row in record.scores)]
    for setting, backbones in by_setting(asked).items():
        curves = {name: by_norm(records) for name, records in backbones.items()}
        norms = sorted({norm for each in curves.values() for norm in each})
        if not norms:
            continue
        figure, axes = panels(len(norms), setting, size=(4.6, 3.6))
        styles = looks(backbones)
        handles = {}
        for norm, panel in zip(norms, axes, strict=True):
            ticks: dict[float, str] = {}
            for name, each in curves.items():
                if norm in each:
                    budgets, accuracies, written = zip(*each[norm], strict=True)
                    (handles[name],) = panel.plot(budgets, accuracies, markersize=4, linewidth=1.5, **styles[name])
                    ticks |= dict(zip(budgets, written, strict=True))
            panel.set(ylim=(0, 1), xlim=(0, None), xlabel=NORMS.get(norm, norm), ylabel="accuracy under attack")
            panel.set_xticks(list(ticks), [*ticks.values()])
            panel.set_title(label(norm), fontsize=9)
        legend(figure, list(handles.values()), [label(name) for name in handles])
        yield Picture((setting,), figure)


def by_norm(records: Sequence[Record]) -> dict[str, Curve]:
    """The curve of each norm."""
    clean = values(records, "accuracy").get("clean")
    found: dict[str, Curve] = defaultdict(list)
    for split, value in values(records, "robust_accuracy").items():
        if match := _SPLIT.fullmatch(split):
            found[match[1]].append((float(match[3]) / float(match[4] or 1), value, match[2]))
    start: Curve = [] if clean is None else [(0.0, clean, "0")]
    return {norm: sorted(start + curve) for norm, curve in found.items()}


PLOTS = {"robustness": draw}
