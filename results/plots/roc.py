"""ROC curves of telling the unknown from the known: a figure a backbone, a panel a set, a line a score."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.plots.base import GREY, Evidence, Picture, axis_labels, by_setting, label, legend, look, panels
from results.record import Record

if TYPE_CHECKING:
    import pandas as pd

HOME = "in-distribution"
PREFIX = "known:"
GRID = np.linspace(0, 1, 1001)

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Shares of the unknown and of the known that are taken for known, as the threshold falls; both from 0 to 1."""


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure a backbone and setting of ``ood.detect``."""
    asked = [record for record in evidence.records if record.cell.task == "ood.detect"]
    for setting, backbones in by_setting(asked).items():
        for backbone, records in backbones.items():
            if curves := curves_of(records, evidence):
                yield Picture((setting, backbone), _figure(setting, backbone, curves))


def curves_of(records: Sequence[Record], evidence: Evidence) -> dict[str, dict[str, Curve]]:
    """By set of the unknown, then by score. Of several seeds the mean height at each share of them (Fawcett 2006)."""
    seeds = [
        _by_set(table, {HOME, *record.cell.datasets.get("shifted", ())})
        for record in records
        if (table := evidence.outputs(record)) is not None
    ]
    return {
        name: {score: _mean([seed[name][score] for seed in seeds if score in seed.get(name, {})]) for score in scores}
        for name, scores in (seeds[0].items() if seeds else ())
    }


def roc(known: NDArray[np.floating], unknown: NDArray[np.floating]) -> Curve:
    """Every threshold's point; equal scores are one step, drawn as a straight line.

    >>> roc(np.array([0.9, 0.4]), np.array([0.4, 0.1]))
    (array([0. , 0. , 0.5, 1. ]), array([0. , 0.5, 1. , 1. ]))
    """
    thresholds = np.unique(np.concatenate([known, unknown]))[::-1]
    shares = [(len(each) - np.searchsorted(np.sort(each), thresholds, "left")) / len(each) for each in (unknown, known)]
    return np.append(0.0, shares[0]), np.append(0.0, shares[1])


def area(curve: Curve) -> float:
    """Under the curve: AUROC, ties counted half."""
    return float(np.trapezoid(curve[1], curve[0]))


def _by_set(table: "pd.DataFrame", known: Collection[str]) -> dict[str, dict[str, Curve]]:
    """``known`` are the splits of images whose classes were learnt."""
    scores = [name for name in table.columns if name.startswith(PREFIX)]
    home = table[table["split"] == HOME]
    found: dict[str, dict[str, Curve]] = {}
    for name, rows in table.groupby("split", sort=False):
        if name in known:
            continue
        both = {score: (home[score].dropna().to_numpy(), rows[score].dropna().to_numpy()) for score in scores}
        curves = {score[len(PREFIX) :]: roc(*pair) for score, pair in both.items() if all(map(len, pair))}
        if curves:
            found[str(name)] = curves
    return found


def _mean(curves: Sequence[Curve]) -> Curve:
    if len(curves) == 1:
        return curves[0]
    # Of points above one another the last is the highest.
    heights = [np.interp(GRID, *curve) for curve in curves]
    return np.append(0.0, GRID), np.append(0.0, np.mean(heights, axis=0))


def _figure(setting: str, backbone: str, curves: Mapping[str, Mapping[str, Curve]]):  # type: ignore[no-untyped-def]
    figure, axes = panels(len(curves), f"{setting}: {backbone}", size=(3.4, 3.4))
    areas: dict[str, list[float]] = {}
    for each in curves.values():
        for score, curve in each.items():
            areas.setdefault(score, []).append(area(curve))
    best = sorted(areas, key=lambda score: -float(np.mean(areas[score])))
    handles = {}
    for (name, each), panel in zip(curves.items(), axes, strict=True):
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle="--")
        panel.axhline(0.95, color=GREY, linewidth=0.7, linestyle=":")
        for place, score in enumerate(best):
            if score in each:
                style = {**look(place), "marker": ""}
                (handles[score],) = panel.plot(*each[score], linewidth=1.4, **style)
        panel.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
        panel.set_title(label(name), fontsize=9)
    axis_labels(axes, "unknown images taken for known", "known images taken for known")
    labels = [f"{label(score)}  {np.mean(areas[score]):.3f}" for score in best]
    legend(figure, [handles[score] for score in best], labels, "AUROC, mean over the sets; dotted: 95 % of the known")
    return figure


PLOTS = {"roc": draw}
