"""Accuracy elsewhere against accuracy at home, both as logits: what lies above the trend is robust beyond accuracy."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.plots.base import GREY, Evidence, Picture, Seeds, by_setting, label, legend, looks, panels, values
from results.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99)
FITTED = 3
"""The fewest points a trend is drawn through."""


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure a setting with ``id_top1``, a panel a test set, a point a backbone."""
    asked = [record for record in evidence.records if any(row.metric == "id_top1" for row in record.scores)]
    for setting, backbones in by_setting(asked).items():
        sets = list(dict.fromkeys(split for each in backbones.values() for split in values(each, "id_top1")))
        figure, axes = panels(len(sets), setting, size=(3.6, 3.5))
        handles: dict[str, object] = {}
        for split, panel in zip(sets, axes, strict=True):
            handles |= _panel(panel, split, backbones)
        legend(figure, list(handles.values()), [label(name) for name in handles])
        yield Picture((setting,), figure)


def point(records: Sequence[Record], split: str) -> tuple[float, float] | None:
    """(accuracy at home, accuracy there), means over seeds, kept half an image away from 0 and 1."""
    home, away = values(records, "id_top1").get(split), values(records, "top1").get(split)
    if home is None or away is None:
        return None
    return _inside(home, records, "id_top1", split), _inside(away, records, "top1", split)


def trend(points: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and height of the line through logits (n, 2) by least squares (Taori et al. 2020)."""
    slope, height = np.polyfit(_logit(points[:, 0]), _logit(points[:, 1]), 1)
    return float(slope), float(height)


def _panel(panel: "Axes", split: str, backbones: Seeds) -> dict[str, object]:
    points = {name: found for name, records in backbones.items() if (found := point(records, split))}
    styles = looks(backbones)
    handles: dict[str, object] = {}
    for name, (home, away) in points.items():
        style = {key: value for key, value in styles[name].items() if key != "linestyle"}
        handles[name] = panel.plot([home], [away], linestyle="none", markersize=7, **style)[0]
    every = np.array(list(points.values()))
    low, high = _logit(every.min()) - 0.4, _logit(every.max()) + 0.4
    line = _probability(np.linspace(low, high, 50))
    panel.plot(line, line, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
    candidates = [points[name] for name in points if not backbones[name][0].backbone.baseline]
    if len({home for home, _ in candidates}) >= FITTED:
        slope, height = trend(np.array(candidates))
        (fitted,) = panel.plot(
            line, _probability(slope * _logit(line) + height), color="#444444", linewidth=1, zorder=1
        )
        handles["trend of those that are no baselines"] = fitted
    panel.set(xscale="logit", yscale="logit", xlabel="top-1 at home", ylabel="top-1 there")
    shown = [tick for tick in TICKS if low <= _logit(np.float64(tick)) <= high]
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks(shown, [f"{tick:.0%}" for tick in shown])
        axis.set_ticks([], minor=True)
    panel.set(xlim=(line[0], line[-1]), ylim=(line[0], line[-1]))
    panel.set_title(label(split), fontsize=9)
    return handles


def _inside(value: float, records: Sequence[Record], metric: str, split: str) -> float:
    counts = [row.n for row in records[0].scores if (row.metric, row.split) == (metric, split)]
    half = 0.5 / (counts[0] or 1000)
    return min(max(value, half), 1 - half)


def _logit(share: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(np.log(share) - np.log1p(-share))


def _probability(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits)))


PLOTS = {"shift": draw}
