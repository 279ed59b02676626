"""Precision against recall of detections, the mean over classes: the area under each curve is AP at that overlap."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from results.detections import RECALLS, judged, kept, precision
from results.plots.base import Evidence, Picture, axis_labels, by_setting, label, legend, looks, panels

OVERLAPS = (0.5, 0.75)


def draw(evidence: Evidence) -> Iterator[Picture]:
    """A figure a setting of a detection task, a row of panels a test set, a panel an overlap, a line a backbone."""
    asked = [record for record in evidence.records if record.cell.task.split(".")[0] == "detection"]
    for setting, backbones in by_setting(asked).items():
        curves: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
        for name, records in backbones.items():
            if (table := evidence.outputs(records[0])) is None:
                continue
            for split, answers in kept(table).items():
                found = [precision(answers, judged(answers, overlap)[0]) for overlap in OVERLAPS]
                curves.setdefault(split, {})[name] = found
        if curves:
            yield Picture((setting,), _figure(setting, curves, looks(backbones)))


def _figure(setting: str, curves: dict[str, dict[str, list[NDArray[np.float64]]]], styles):  # type: ignore[no-untyped-def]
    figure, axes = panels(len(OVERLAPS) * len(curves), setting, len(OVERLAPS), (3.4, 2.9))
    handles = {}
    for row, (split, found) in enumerate(curves.items()):
        for place, overlap in enumerate(OVERLAPS):
            panel = axes[row * len(OVERLAPS) + place]
            for name, each in found.items():
                # markers a tenth of the axis apart tell lines apart that colour does not
                style = {"markersize": 3.5, "markevery": 10, "linewidth": 1.5, **styles[name]}
                (handles[name],) = panel.plot(RECALLS, each[place], **style)
            panel.set(xlim=(0, 1), ylim=(0, 1.02))
            panel.set_title(f"{label(split)}: IoU {overlap}" if len(curves) > 1 else f"IoU {overlap}", fontsize=9)
    axis_labels(axes, "recall", "precision (mean over classes)")
    legend(figure, list(handles.values()), [label(name) for name in handles])
    return figure


PLOTS = {"precision_recall": draw}
