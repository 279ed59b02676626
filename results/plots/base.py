"""What a plot is: ``draw(evidence)`` yields pictures made from records and what happened to their items."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from results.names import visible
from results.record import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ImagesOf = Callable[[str, str], NDArray[np.uint8]]
"""``images(role, name)``: pixels (height, width, 3), perhaps fewer than the image has, of a ``query`` or ``gallery``
image or of one of a record's split (``test``, or a test set's own name); ``KeyError`` if not there."""


@dataclass(frozen=True)
class Evidence:
    """What there is to draw from.

    ``records`` are those done and comparable with one another. ``outputs`` gives a record's items, a row each, in
    which ``split`` says whose (None where it kept none). ``images`` opens the images of a record's dataset; it raises
    ``ValueError`` or ``OSError`` saying what is missing.
    """

    records: Sequence[Record]
    outputs: "Callable[[Record], pd.DataFrame | None]"
    images: Callable[[Record], ImagesOf]


@dataclass(frozen=True)
class Picture:
    """A figure, and what it shows in words, from which its file's name is made."""

    shows: tuple[str, ...]
    figure: "Figure"


Draw = Callable[[Evidence], Iterator[Picture | str]]
"""Every picture there is evidence for, none where there is none; a sentence for each that is lacking something."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people tell apart, without the yellow that nobody sees on white."""
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#8c8c8c"
"""Of baselines, and of what things are compared with."""

Seeds = Mapping[str, Sequence[Record]]
"""The records of each backbone, one a seed."""


def by_setting(records: Sequence[Record]) -> dict[str, Seeds]:
    """The records of each setting (a column of the board), by backbone: candidates first, then baselines, by name."""
    found: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda r: (r.backbone.baseline, r.cell.backbone, r.cell.seed)):
        found[record.cell.setting()][record.cell.backbone].append(record)
    return {setting: found[setting] for setting in sorted(found)}


def values(records: Sequence[Record], metric: str) -> dict[str, float]:
    """A metric's value by split: the mean over the records (seeds) that have one."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for row in record.scores:
            if row.metric == metric and row.value is not None:
                found[row.split].append(row.value)
    return {split: float(np.mean(each)) for split, each in found.items()}


def looks(backbones: Seeds) -> dict[str, dict[str, Any]]:
    """Colour, line and marker of each backbone; those of baselines are grey."""
    found: dict[str, dict[str, Any]] = {}
    for baseline in (False, True):
        names = [name for name, records in backbones.items() if records[0].backbone.baseline is baseline]
        found |= {name: look(place, GREY if baseline else None) for place, name in enumerate(names)}
    return found


def look(place: int, colour: str | None = None) -> dict[str, Any]:
    """Of the n-th of several lines; four times seven differ in colour or line, and their markers with them.

    >>> look(0), look(8)
    ({'color': '#0072B2', 'linestyle': '-', 'marker': 'o'}, {'color': '#D55E00', 'linestyle': '--', 'marker': '^'})
    """
    turn, step = divmod(place, len(COLOURS))
    if colour:
        turn = place
    return {
        "color": colour or COLOURS[step],
        "linestyle": LINES[turn % len(LINES)],
        "marker": MARKERS[(step + turn) % len(MARKERS)],
    }


def label(name: str, longest: int = 44) -> str:
    """A name as text of a figure: one line, its middle cut where it is long, dollars not taken for mathematics.

    >>> label("a$b$c"), label("checkpoint:" + "x" * 60 + "/last.yaml", 30), label("_private")
    ('a\\\\$b\\\\$c', 'checkpoint:xx…xxxxxx/last.yaml', ' _private')
    """
    shown = visible(name, 400)
    if len(shown) > longest:
        head = (longest - 1) * 9 // 20
        shown = f"{shown[:head]}…{shown[len(shown) - (longest - 1 - head) :]}"
    # matplotlib leaves labels that begin with an underscore out of a legend
    return (" " * shown.startswith("_") + shown).replace("$", r"\$")


def panels(
    count: int, title: str, across: int = 4, size: tuple[float, float] = (3.2, 3.0)
) -> "tuple[Figure, list[Axes]]":
    """A figure with so many panels in a grid, ``size`` inches each, with light grids and without boxes."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    across = min(count, across)
    down = -(-count // across)
    width = max(size[0] * across, 5.5)
    figure = Figure(figsize=(width, size[1] * down + 0.9), layout="constrained")
    lines = wrap(label(title, 300), int(width * 11))[:4]
    figure.suptitle("\n".join(lines), fontsize=10, x=0.01, ha="left", fontweight="bold")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    for panel in axes[:count]:
        plain(panel)
    return figure, axes[:count]


def plain(panel: "Axes") -> None:
    """Light grid, no box, small figures."""
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)


def axis_labels(axes: "Sequence[Axes]", horizontal: str, vertical: str) -> None:
    """Name the axes of a grid of panels at its left and its lower edge."""
    across = axes[0].get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
    for place, panel in enumerate(axes):
        if place % across == 0:
            panel.set_ylabel(vertical, fontsize=9)
        if place + across >= len(axes):
            panel.set_xlabel(horizontal, fontsize=9)


def legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], title: str = "") -> None:
    """One legend for all panels, below them, in as many columns as fit."""
    longest = max((len(each) for each in labels), default=1)
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (0.075 * longest + 0.55))))
    figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(labels) // columns))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8,
        title=title or None, title_fontsize=8, handlelength=3,
    )  # fmt: skip
