"""Detections: the best and the worst images, what was found right, what wrong (dashed), what was missed (dotted)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from results.detections import BOX, RIGHT, WRONG, Kept, judged, kept, mask_of, surest
from results.plots.base import COLOURS, Evidence, ImagesOf, Picture, by_setting, label, values
from results.record import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EACH = 4
"""So many of the best, and of the worst."""
OVERLAP = 0.5
TAG = (0.0155, 0.04)
"""How much of the longer side of an image a letter of a tag takes across, and a tag down."""


@dataclass(frozen=True)
class Look:
    """Line, colour and sign, each of which tells right from wrong from missed on its own."""

    meaning: str
    sign: str
    colour: str
    line: Any


LOOKS: dict[int | str, Look] = {
    RIGHT: Look("found", "✓", COLOURS[2], "-"),
    WRONG: Look("wrong", "✗", COLOURS[1], (0, (3.2, 1.4))),
    "missed": Look("missed", "?", COLOURS[0], (0, (1, 1.2))),
}


def draw(evidence: Evidence) -> Iterator[Picture | str]:
    """A figure for each backbone, setting and test set that detections were kept of."""
    asked = [record for record in evidence.records if record.cell.task.split(".")[0] == "detection"]
    for setting, backbones in by_setting(asked).items():
        for backbone, records in backbones.items():
            table = evidence.outputs(records[0])
            parts = kept(table) if table is not None else {}
            try:
                images = evidence.images(records[0]) if parts else None
                for split, answers in parts.items():
                    figure = _figure(setting, backbone, records, split, answers, images)
                    yield Picture((setting, backbone, *([split] * (len(parts) > 1))), figure)
            except KeyError as error:
                yield f"{setting}: the dataset has no image {error}"
            except (ValueError, OSError, ImportError) as error:
                yield f"{setting}: {error}"
                break  # the same images are missing to every backbone


def extremes(images: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The best and the worst images with objects, no image in both; of equals those with more objects come first."""
    told = images.dropna(subset=["ap50"])
    ordered = told.sort_values(["ap50", "objects", "item"], ascending=[False, False, True], kind="stable")
    best = ordered.iloc[: min(EACH, (len(ordered) + 1) // 2)]
    rest = ordered.iloc[len(best) :]
    worst = rest.sort_values(["ap50", "objects", "item"], ascending=[True, False, True], kind="stable").iloc[:EACH]
    return best, worst


def _figure(
    setting: str, backbone: str, records: Sequence[Record], split: str, answers: Kept, images: ImagesOf | None
) -> "Figure":
    from matplotlib.figure import Figure

    assert images is not None
    classes = class_names(records[0], split)
    least, f1 = surest(answers, judged(answers, OVERLAP)[0])
    rows = [chosen for chosen in extremes(answers.images) if len(chosen)]
    across = max(map(len, rows), default=1)
    figure = Figure(figsize=(max(2.6 * across, 6.0), 2.35 * len(rows) + 1.1), layout="constrained")
    figure.suptitle(_title(setting, backbone, records, split), fontsize=9, x=0.01, ha="left", fontweight="bold")
    grid = figure.subplots(max(1, len(rows)), across, squeeze=False)
    for name, chosen, axes in zip(("best", "worst"), rows, grid, strict=False):
        for panel in axes:
            panel.set_axis_off()
        for place, (row, panel) in enumerate(zip(chosen.to_dict("records"), axes, strict=False)):
            drawn = _of_image(answers, str(row["item"]), least)
            _show(panel, images(split, str(row["item"])), (int(row["height"]), int(row["width"])), drawn, classes)
            panel.set_title(_caption(name if place == 0 else "", row, drawn), fontsize=7, loc="left", pad=3)
    _legend(figure, f"drawn are detections scored {least:.2f} or more, where F1 over all images is best ({f1:.2f})")
    return figure


def _title(setting: str, backbone: str, records: Sequence[Record], split: str) -> str:
    named = {"ap": "AP", "ap50": "AP50", "mask_ap": "mask AP"}
    scores = [f"{shown} {values(records, metric)[split]:.3f}" for metric, shown in named.items()
              if split in values(records, metric)]  # fmt: skip
    whose = f"   {label(split)}" if split != "test" else ""
    return f"{label(setting, 90)}\n{label(backbone, 60)}{whose}   {'   '.join(scores)}"


@dataclass(frozen=True)
class _Drawn:
    """What is drawn in one image: rows of detections or objects, each with how it looks; the surest last, on top."""

    rows: "Sequence[tuple[Look, Mapping[Any, Any]]]"

    def count(self, kind: int | str) -> int:
        return sum(look is LOOKS[kind] for look, _ in self.rows)


def _of_image(answers: Kept, item: str, least: float) -> _Drawn:
    """Of the detections scored ``least`` or more; an object that only another one found is missed."""
    objects, detections = answers.objects, answers.detections
    shown = ((detections["item"] == item) & (detections["score"] >= least)).to_numpy(bool)
    image = Kept(
        answers.images, detections[shown].reset_index(drop=True),
        objects[(objects["item"] == item).to_numpy(bool)].reset_index(drop=True),
    )  # fmt: skip
    verdicts, found = judged(image, OVERLAP)
    missed = image.objects[~found & ~image.objects["crowd"].to_numpy(bool)]
    rows = [(LOOKS["missed"], row) for row in missed.drop(columns="score", errors="ignore").to_dict("records")]
    wanted = zip(verdicts.tolist(), image.detections.to_dict("records"), strict=True)
    told = sorted(wanted, key=lambda pair: float(pair[1]["score"]))
    return _Drawn([*rows, *((LOOKS[verdict], row) for verdict, row in told if verdict in LOOKS)])


def _caption(name: str, row: Any, drawn: _Drawn) -> str:
    counts = "  ".join(f"{LOOKS[kind].sign} {drawn.count(kind)}" for kind in LOOKS)
    head = rf"$\bf{{{name}}}$   " if name else ""
    return f"{head}{label(str(row['item']).rpartition('/')[2], 22)}\nAP50 {row['ap50']:.2f}   {counts}"


def _show(
    panel: "Axes", pixels: NDArray[np.uint8], size: tuple[int, int], drawn: _Drawn, classes: Sequence[str]
) -> None:
    height, width = size
    panel.imshow(pixels, extent=(0, width, height, 0), interpolation="lanczos")
    for look, row in drawn.rows:
        if (mask := mask_of(row.get("mask"), size)) is not None:
            _shade(panel, mask, look)
        _box(panel, row, look)
    _tags(panel, drawn, classes, max(size))
    panel.set(xlim=(0, width), ylim=(height, 0), anchor="N")


def _tags(panel: "Axes", drawn: _Drawn, classes: Sequence[str], longer: int) -> None:
    """What and how sure, at the upper left of boxes, the surest first; a tag that would cover another is left out."""
    taken: list[tuple[float, float, float]] = []
    for look, row in reversed(drawn.rows):
        score = f" {row['score']:.2f}" if "score" in row else ""
        text = f"{look.sign} {_name(classes, int(row['label']))}{score}"
        left, top, across = float(row["left"]), float(row["top"]), len(text) * TAG[0] * longer
        if any(left < end and start < left + across and abs(top - at) < TAG[1] * longer for start, end, at in taken):
            continue
        taken.append((left, left + across, top))
        panel.annotate(
            text, (left, top), xytext=(1, -1), textcoords="offset points", va="top", ha="left", fontsize=4.6,
            color="white", clip_on=True, bbox={"boxstyle": "square,pad=0.15", "facecolor": look.colour,
                                               "edgecolor": "none", "alpha": 0.88},
        )  # fmt: skip


def _shade(panel: "Axes", mask: NDArray[np.bool_], look: Look) -> None:
    """The mask as a veil of the colour, with an edge."""
    from matplotlib.colors import to_rgb

    height, width = mask.shape
    veil = np.zeros((height, width, 4))
    veil[mask] = (*to_rgb(look.colour), 0.32)
    panel.imshow(veil, extent=(0, width, height, 0), interpolation="nearest")
    if 0 < mask.sum() < mask.size:
        grid = np.arange(width) + 0.5, np.arange(height) + 0.5
        panel.contour(*grid, mask.astype(float), levels=[0.5], colors=[look.colour], linewidths=0.7)


def _box(panel: "Axes", row: Any, look: Look) -> None:
    """On a white band, so that it is seen on any image."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (float(row[side]) for side in BOX)
    for colour, width, line in (("white", 2.2, "-"), (look.colour, 1.3, look.line)):
        panel.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width,
                      linestyle=line, alpha=0.7 if colour == "white" else 1)
        )  # fmt: skip


def class_names(record: Record, split: str) -> list[str]:
    """What the labels of a split stand for: its own test set's, else all that is learnt; none where untold."""
    for note in (f"classes:{split}", f"classes:{split.rsplit('/', 2)[0]}", "classes"):
        if isinstance(names := record.notes.get(note), list):
            return [str(name) for name in names]
    return []


def _name(classes: Sequence[str], place: int) -> str:
    return label(classes[place], 18) if place < len(classes) else f"class {place}"


def _legend(figure: "Figure", how: str) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=look.colour, linewidth=1.8, linestyle=look.line) for look in LOOKS.values()]
    figure.legend(
        handles, [f"{look.sign} {look.meaning}" for look in LOOKS.values()], loc="outside lower center", ncols=3,
        frameon=False, fontsize=8, title=f"{how}; an object is found from IoU {OVERLAP} on", title_fontsize=7,
        handlelength=3.2, columnspacing=2.5,
    )  # fmt: skip


PLOTS = {"detections": draw}
