"""Reliability diagrams: accuracy against confidence in 15 bins of equal width, and how many images each bin holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.plots.base import COLOURS, GREY, Evidence, Picture, axis_labels, by_setting, label, legend, panels, values
from results.record import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BINS = 15
FOOT = 4
"""The bars of counts take this part of a panel's height."""
SHOWN = {"confidence": ("as it is", COLOURS[1]), "scaled_confidence": ("temperature scaled", COLOURS[0])}
"""The columns that are drawn, in words and colours; ``ece`` of the second is the metric ``scaled_ece``."""


@dataclass(frozen=True)
class Bins:
    """Of each bin that holds images: which it is, their mean confidence and accuracy, and their number."""

    place: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Wilson's 95 % interval of the accuracy (Wilson 1927)."""
        z, n = 1.959964, self.count
        middle = (self.accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(self.accuracy * (1 - self.accuracy) / n + z**2 / (4 * n**2))
        return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure for each setting and split that has an ``ece``, a panel a backbone."""
    asked = [record for record in evidence.records if splits_of([record])]
    for setting, backbones in by_setting(asked).items():
        tables = {name: _items(records, evidence) for name, records in backbones.items()}
        for split in dict.fromkeys(split for records in backbones.values() for split in splits_of(records)):
            found = {name: bins for name, table in tables.items() if (bins := binned(table, split))}
            if found:
                errors = {
                    name: {"confidence": values(backbones[name], "ece").get(split),
                           "scaled_confidence": values(backbones[name], "scaled_ece").get(split)}
                    for name in found
                }  # fmt: skip
                yield Picture((setting, split), _figure(f"{setting}: {split}", found, errors))


def splits_of(records: Sequence[Record]) -> list[str]:
    """Splits whose confidences are meant as probabilities; of a set corrupted at many levels none is drawn."""
    return [split for split in values(records, "ece") if "/" not in split]


def _items(records: Sequence[Record], evidence: Evidence) -> "pd.DataFrame":
    """The images of every seed, one below the other."""
    import pandas as pd

    tables = [table for record in records if (table := evidence.outputs(record)) is not None]
    wanted = ["split", "correct", *SHOWN]
    return pd.concat([pd.DataFrame(columns=wanted, dtype=float), *(table.reindex(columns=wanted) for table in tables)])


def binned(table: "pd.DataFrame", split: str) -> dict[str, Bins]:
    """The bins of each column that the split has."""
    rows = table[table["split"] == split]
    found = {}
    for column in SHOWN:
        known = rows[[column, "correct"]].dropna().to_numpy(dtype=np.float64)
        if len(known):
            found[column] = bins(known[:, 0], known[:, 1])
    return found


def bins(confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> Bins:
    """Bin i holds confidences in (i/15, (i + 1)/15]; 0 is in the first (Guo et al. 2017).

    >>> bins(np.array([0.95, 0.99, 0.5]), np.array([1.0, 0.0, 1.0])).count
    array([1, 2])
    """
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    held = count > 0
    said, right = (np.bincount(place, each, BINS)[held] / count[held] for each in (confidence, correct))
    return Bins(np.flatnonzero(held), said, right, count[held])


def _figure(  # type: ignore[no-untyped-def]
    title: str, found: Mapping[str, Mapping[str, Bins]], errors: Mapping[str, Mapping[str, float | None]]
):
    figure, axes = panels(len(found), title, 4, (3.0, 3.4))
    for (name, each), panel in zip(found.items(), axes, strict=True):
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle="--")
        for column, held in each.items():
            _curve(panel, held, SHOWN[column][1])
        _counts(panel, each)
        for line, column in enumerate(each):
            error = errors[name][column]
            text = "no ECE" if error is None else f"ECE {error:.3f}"
            panel.text(0.03, 0.96 - 0.08 * line, text, transform=panel.transAxes, fontsize=8, va="top",
                       color=SHOWN[column][1], fontweight="bold")  # fmt: skip
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.set_title(label(name, 34), fontsize=8)
    axis_labels(axes, "confidence", "accuracy")
    present = [column for column in SHOWN if any(column in each for each in found.values())]
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=SHOWN[column][1], marker="o", markersize=4) for column in present]
    legend(figure, handles, [f"{SHOWN[column][0]}, 95 % interval; bars: images a bin" for column in present])
    return figure


def _curve(panel: "Axes", held: Bins, colour: str) -> None:
    low, high = held.interval
    panel.vlines(held.confidence, low, high, color=colour, linewidth=0.9, alpha=0.6)
    panel.plot(held.confidence, held.accuracy, color=colour, marker="o", markersize=3.5, linewidth=1.4)


def _counts(panel: "Axes", each: Mapping[str, Bins]) -> None:
    """Bars at the foot of the panel: how many images each bin holds; the highest says its number."""
    width = 1 / BINS / len(each)
    most = max(int(held.count.max()) for held in each.values())
    for place, (column, held) in enumerate(each.items()):
        left = held.place / BINS + place * width
        heights = held.count / most / FOOT
        panel.bar(left, heights, width, align="edge", color=SHOWN[column][1], alpha=0.25, linewidth=0, zorder=1)
        for where in left[held.count == most][:1]:
            panel.text(where + width / 2, 1 / FOOT + 0.01, f"{most:,}", fontsize=7, ha="center", color="#444444")


PLOTS = {"reliability": draw}
