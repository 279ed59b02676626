"""Accuracy against the strength of a corruption: the mean over all of them with the middle half, then each alone."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from results.plots.base import Evidence, Picture, Seeds, axis_labels, by_setting, label, legend, looks, panels, values
from results.record import Record

LEVELS = np.arange(6)
"""0 is clean."""
SHADED = 6
"""Of more backbones the shades would hide one another, and are left out."""

_SPLIT = re.compile(r"(.+)/([1-5])")


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure a setting of ``ood.corruption``, a line a backbone."""
    asked = [record for record in evidence.records if record.cell.task == "ood.corruption"]
    for setting, backbones in by_setting(asked).items():
        curves = {name: found for name, records in backbones.items() if (found := accuracies(records))}
        if curves:
            yield Picture((setting,), _figure(setting, backbones, curves))


def accuracies(records: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """top1 at each of :data:`LEVELS`, by corruption; NaN where it was not asked."""
    found: dict[str, NDArray[np.float64]] = {}
    top1 = values(records, "top1")
    for split, value in top1.items():
        if match := _SPLIT.fullmatch(split):
            curve = found.setdefault(match[1], np.full(len(LEVELS), np.nan))
            curve[0], curve[int(match[2])] = top1.get("clean", np.nan), value
    return found


def _figure(setting: str, backbones: Seeds, curves: dict[str, dict[str, NDArray[np.float64]]]):  # type: ignore[no-untyped-def]
    functions = list(dict.fromkeys(function for each in curves.values() for function in each))
    alone = functions if len(functions) > 1 else []
    figure, axes = panels(1 + len(alone), setting, 5, (2.5, 2.3))
    styles, handles = looks(backbones), []
    for name, found in curves.items():
        stacked = np.array(list(found.values()))
        present = ~np.isnan(stacked).all(0)
        mean = np.nanmean(stacked[:, present], axis=0)
        handles += axes[0].plot(LEVELS[present], mean, markersize=4, linewidth=1.6, **styles[name])
        if len(found) > 1 and len(curves) <= SHADED:
            low, high = np.nanpercentile(stacked[:, present], [25, 75], axis=0)
            axes[0].fill_between(LEVELS[present], low, high, color=styles[name]["color"], alpha=0.12, linewidth=0)
        for function, panel in zip(alone, axes[1:], strict=True):
            if function in found:
                there = ~np.isnan(found[function])  # of levels that were not asked the line goes on to the next
                panel.plot(LEVELS[there], found[function][there], markersize=2.5, linewidth=1.1, **styles[name])
    shaded = ", middle half shaded" * (len(curves) <= SHADED)
    titles = [f"mean of {len(functions)}{shaded}" if alone else label(functions[0]), *map(label, alone)]
    for panel, title in zip(axes, titles, strict=True):
        panel.set(ylim=(0, 1), xticks=LEVELS)
        panel.set_title(title.replace("_", " "), fontsize=9)
    axis_labels(axes, "level (0: clean)", "top-1 accuracy")
    legend(figure, handles, [label(name) for name in curves])
    return figure


PLOTS = {"corruption": draw}
