"""Score against step: how a training's checkpoints do at every task, with all other backbones as levels to reach."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.plots.base import GREY, Evidence, Picture, Seeds, by_setting, label, legend, look, panels
from results.record import Record

LEVELS = 6
"""The most backbones that are drawn as levels in a panel: the best of each kind (candidates, baselines) first."""

_CHECKPOINT = re.compile(r"checkpoint:(.+)@(\d+)")


@dataclass(frozen=True)
class Point:
    """A checkpoint's headline score: the mean over seeds, with the widest of their 95 % intervals, if any."""

    step: int
    value: float
    low: float
    high: float
    higher_is_better: bool


def draw(evidence: Evidence) -> Iterator[Picture]:
    """One figure, a panel a setting in which a run has at least two checkpoints, a line a run."""
    found: dict[str, tuple[Mapping[str, list[Point]], Mapping[str, Point], str]] = {}
    for setting, backbones in by_setting(evidence.records).items():
        runs, levels = learning_curves(backbones), levels_of(backbones)
        if runs:
            (first, *_) = next(iter(backbones.values()))
            found[setting] = runs, levels, first.headline
    if found:
        names = sorted({run for runs, _, _ in found.values() for run in runs})
        yield Picture((", ".join(names),), _figure(found, names))


def learning_curves(backbones: Seeds) -> dict[str, list[Point]]:
    """Points by step of every run of which two checkpoints or more were asked."""
    runs: dict[str, list[Point]] = defaultdict(list)
    for name, records in backbones.items():
        if (match := _CHECKPOINT.fullmatch(name)) and (point := _point(int(match[2]), records)):
            runs[match[1]].append(point)
    return {run: sorted(points, key=lambda point: point.step) for run, points in runs.items() if len(points) > 1}


def levels_of(backbones: Seeds) -> dict[str, Point]:
    """The best of the backbones that are no checkpoints of a run, half of them candidates, half baselines."""
    kinds: dict[bool, dict[str, Point]] = {False: {}, True: {}}
    for name, records in backbones.items():
        if not _CHECKPOINT.fullmatch(name) and (point := _point(0, records)):
            kinds[records[0].backbone.baseline][name] = point
    best = {
        kind: sorted(points, key=lambda name: points[name].value * (-1) ** points[name].higher_is_better)[: LEVELS // 2]
        for kind, points in kinds.items()
    }
    return {name: kinds[kind][name] for kind in (False, True) for name in best[kind]}


def _point(step: int, records: Sequence[Record]) -> Point | None:
    rows = [row for record in records if (row := record.headline_row()) is not None]
    seen = [(row, row.value) for row in rows if row.value is not None]
    if not seen:
        return None
    low = min(value if row.low is None else row.low for row, value in seen)
    high = max(value if row.high is None else row.high for row, value in seen)
    return Point(step, float(np.mean([value for _, value in seen])), low, high, rows[0].higher_is_better)


def _figure(found: Mapping[str, tuple[Mapping[str, list[Point]], Mapping[str, Point], str]], names: Sequence[str]):  # type: ignore[no-untyped-def]
    figure, axes = panels(len(found), "Score against step, 95 % intervals shaded", 3, (3.4, 2.6))
    styles = {name: look(place) for place, name in enumerate(names)}
    grey = list(dict.fromkeys(name for _, levels, _ in found.values() for name in levels))
    lines = {name: {**look(place, GREY), "marker": ""} for place, name in enumerate(grey)}
    handles = {}
    for panel, (setting, (runs, levels, metric)) in zip(axes, found.items(), strict=True):
        for name, level in levels.items():
            handles[name] = panel.axhline(level.value, linewidth=1.0, **lines[name])
        for name, points in runs.items():
            steps = [point.step for point in points]
            (handles[name],) = panel.plot(
                steps, [point.value for point in points], linewidth=1.6, markersize=4, **styles[name]
            )
            low, high = [point.low for point in points], [point.high for point in points]
            panel.fill_between(steps, low, high, color=styles[name]["color"], alpha=0.15, linewidth=0)
        panel.set_title(label(setting, 42), fontsize=8)
        panel.set_ylabel(metric.replace("_", " "), fontsize=8)
        panel.set_xlabel("step", fontsize=8)
    order = [*names, *grey]
    legend(figure, [handles[name] for name in order], [label(name) for name in order])
    return figure


PLOTS = {"learning": draw}
