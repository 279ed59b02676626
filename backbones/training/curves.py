"""Curves of a training as a picture: a panel a number, over steps."""

import csv
from collections import defaultdict
from pathlib import Path

from backbones.training.logs import COUNTED, EPOCHS, STEPS

CURVES = "curves.png"
PANELS_A_ROW = 3
WIDTH, HEIGHT = 4.0, 3.0
"""Of a panel with its margins, in inches."""
LEFT, RIGHT, BOTTOM, TOP = 0.75, 0.15, 0.5, 0.35
"""Margins of a panel, for its labels and title. Having them measured (a layout engine) took half of the drawing, which
happens after every epoch.
"""
TICKS = 5

Points = tuple[list[int], list[float]]


def draw_curves(folder: Path) -> Path | None:
    """Draw what the CSV files in a folder of logs hold beside them; None, and no file, where they hold nothing.

    Steps are a thin line and epochs a bold one, in the same panel where both have a number of that name.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    steps, epochs = _columns(folder / STEPS), _columns(folder / EPOCHS)
    names = list(dict.fromkeys([*steps, *epochs]))
    if not names:
        return None
    across = min(len(names), PANELS_A_ROW)
    down = -(-len(names) // across)
    figure = Figure(figsize=(WIDTH * across, HEIGHT * down))
    for place, name in enumerate(names):
        left, bottom = WIDTH * (place % across) + LEFT, HEIGHT * (down - 1 - place // across) + BOTTOM
        size = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM - TOP
        shares = [left / across / WIDTH, bottom / down / HEIGHT, size[0] / across / WIDTH, size[1] / down / HEIGHT]
        panel = figure.add_axes((shares[0], shares[1], shares[2], shares[3]))
        if name in steps:
            panel.plot(*steps[name], linewidth=0.6, alpha=0.6, label="step")
        if name in epochs:
            panel.plot(*epochs[name], linewidth=1.5, marker="o", markersize=3, label="epoch")
        panel.set(title=name.replace("_", " "), xlabel="step")
        panel.locator_params(nbins=TICKS)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    figure.savefig(folder / CURVES, dpi=120)
    return folder / CURVES


def _columns(path: Path) -> dict[str, Points]:
    """Steps and values of every column."""
    found: dict[str, Points] = defaultdict(lambda: ([], []))
    if not path.exists():
        return found
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if name not in COUNTED:
                    found[name][0].append(int(row["step"]))
                    found[name][1].append(float(value))
    return found
