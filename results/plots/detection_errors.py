"""What detections lose to each kind of error: the AP50 that mending it alone would win, a bar a backbone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from results.plots.base import COLOURS, GREY, Evidence, Picture, Seeds, by_setting, label, panels, values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure for each setting and test set with an error breakdown, a panel a kind of error, the best AP on top."""
    metrics = {f"error_{kind}" for kind in KINDS}
    asked = [record for record in evidence.records if any(row.metric in metrics for row in record.scores)]
    for setting, backbones in by_setting(asked).items():
        every = [split for each in backbones.values() for kind in KINDS for split in values(each, f"error_{kind}")]
        splits = list(dict.fromkeys(every))
        for split in splits:
            yield Picture((setting, *([split] * (len(splits) > 1))), _figure(setting, backbones, split))


def _figure(setting: str, backbones: Seeds, split: str) -> "Figure":
    names = sorted(backbones, key=lambda name: -values(backbones[name], "ap").get(split, 0.0))
    whose = f"  {split}" if split != "test" else ""
    figure, axes = panels(len(KINDS), f"{setting}{whose}", len(KINDS), (1.75, 0.24 * len(names) + 0.5))
    found = {kind: [values(backbones[name], f"error_{kind}").get(split, np.nan) for name in names] for kind in KINDS}
    widest = max((each for row in found.values() for each in row if np.isfinite(each)), default=0.0) or 1.0
    for kind, panel in zip(KINDS, axes, strict=True):
        panel.set_title(kind, fontsize=9)
        _bars(panel, found[kind], [GREY if backbones[name][0].backbone.baseline else COLOURS[0] for name in names])
        panel.set(xlim=(0, widest * 1.3), ylim=(len(names) - 0.4, -0.6), yticks=range(len(names)))
        panel.set_yticklabels([label(name) for name in names] if kind == KINDS[0] else [])
        panel.tick_params(axis="y", length=0)
    figure.supxlabel("AP50 that would be won if errors of this kind alone were mended", fontsize=8)
    return figure


def _bars(panel: "Axes", lost: list[float], colours: list[str]) -> None:
    bars = panel.barh(range(len(lost)), lost, height=0.68, color=colours)
    panel.bar_label(bars, [f"{each:.3f}" if np.isfinite(each) else "" for each in lost], fontsize=6.5, padding=2)
    panel.grid(axis="y", visible=False)


PLOTS = {"detection_errors": draw}
