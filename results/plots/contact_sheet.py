"""Contact sheets: queries with the five images ranked first, right ones framed green, wrong ones red and dashed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from results.plots.base import COLOURS, Evidence, ImagesOf, Picture, by_setting, label, values
from results.record import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUERIES = 8
NEAREST = 5
RIGHT, WRONG = COLOURS[2], COLOURS[1]


def draw(evidence: Evidence) -> Iterator[Picture | str]:
    """A sheet for each backbone and setting of a retrieval task; every backbone is shown with the same queries."""
    asked = [record for record in evidence.records if record.cell.task.split(".")[0] == "retrieval"]
    for setting, backbones in by_setting(asked).items():
        for backbone, records in backbones.items():
            table = evidence.outputs(records[0])
            if table is None or not {"item", f"nearest_{NEAREST}", f"right_{NEAREST}"} <= set(table.columns):
                continue
            try:
                images = evidence.images(records[0])
                yield Picture((setting, backbone), _figure(setting, backbone, records, chosen(table), images))
            except KeyError as error:
                yield f"{setting}: the dataset has no image {error}"
            except (ValueError, OSError, ImportError) as error:
                yield f"{setting}: {error}"
                break  # the same images are missing to every backbone


def chosen(table: "pd.DataFrame") -> "list[dict[str, object]]":
    """Eight queries evenly spread over all in the order of their names, whatever the ranking."""
    ordered = table.dropna(subset=["nearest_1"]).sort_values("item", kind="stable")
    places = np.unique(np.linspace(0, len(ordered) - 1, min(QUERIES, len(ordered))).round().astype(int))
    return [{str(name): value for name, value in row.items()} for row in ordered.iloc[places].to_dict("records")]


def _figure(  # type: ignore[no-untyped-def]
    setting: str,
    backbone: str,
    records: Sequence[Record],
    rows: "Sequence[Mapping[str, object]]",
    images: ImagesOf,
):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.35 * (1 + NEAREST) + 0.3, 1.5 * len(rows) + 0.9), layout="constrained")
    scores = [f"{metric} {value:.3f}" for metric in ("mAP", "recall@1") for value in values(records, metric).values()]
    figure.suptitle(
        f"{label(setting, 90)}\n{label(backbone, 60)}   {'   '.join(scores)}", fontsize=9, x=0.01, ha="left",
        fontweight="bold",
    )  # fmt: skip
    grid = figure.subplots(len(rows), 1 + NEAREST, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    for row, panels in zip(rows, grid, strict=True):
        _show(panels[0], images, "query", str(row["item"]), "#000000", "-")
        for place, panel in enumerate(panels[1:], start=1):
            if name := str(row[f"nearest_{place}"] or ""):
                right = bool(row[f"right_{place}"])
                _show(panel, images, "gallery", name, RIGHT if right else WRONG, "-" if right else "--")
            else:
                panel.set_axis_off()
    for place, panel in enumerate(grid[0]):
        panel.set_title("query" if place == 0 else f"{place}", fontsize=8)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=RIGHT, linewidth=2.5), Line2D([], [], color=WRONG, linewidth=2.5, linestyle="--")]
    figure.legend(
        handles, ["right answer", "wrong"], loc="outside lower center", ncols=2, frameon=False, fontsize=8,
        handlelength=3,
    )  # fmt: skip
    return figure


def _show(panel: "Axes", images: ImagesOf, role: str, name: str, colour: str, line: str) -> None:
    panel.imshow(images(role, name))
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(color=colour, linewidth=2.5 if colour != "#000000" else 0.8, linestyle=line)
    panel.set_xlabel(label(name.rpartition("/")[2], 20), fontsize=6, labelpad=2)


PLOTS = {"contact_sheet": draw}
