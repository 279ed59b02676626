"""Curves of a training as a picture: a panel a number, over steps."""

import csv
from collections import defaultdict
from pathlib import Path

from backbones.training.logs import COUNTED, EPOCHS, STEPS

CURVES = "curves.png"
PANELS_A_ROW = 3

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
    figure = Figure(figsize=(4 * across, 3 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for name, panel in zip(names, panels, strict=False):
        if name in steps:
            panel.plot(*steps[name], linewidth=0.6, alpha=0.6, label="step")
        if name in epochs:
            panel.plot(*epochs[name], linewidth=1.5, marker="o", markersize=3, label="epoch")
        panel.set(title=name.replace("_", " "), xlabel="step")
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
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
