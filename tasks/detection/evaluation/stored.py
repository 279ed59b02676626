"""Detections and annotations as columns of a record, and back: new metrics never need the detector to run again."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from tasks.base import Outputs
from tasks.datasets.outlines import RunLengths
from tasks.detection.evaluation.tables import Annotated, Found, Shapes, Tables

if TYPE_CHECKING:
    import pyarrow as pa

SIDES = ("left", "top", "right", "bottom")


def outputs(tables: Tables, quality: Mapping[str, Float64[np.ndarray, " images"]], split: str) -> Iterator[Outputs]:
    """A row an image (``split``), with what it is rated by; a row a detection (``split:detections``); and an object.

    ``absent`` and ``incomplete`` are lists of classes as JSON; ``mask`` are COCO's compressed run lengths.
    """
    names = np.asarray(tables.names, dtype=object)
    images: dict[str, NDArray[Any]] = {
        "item": names,
        "height": tables.sizes[:, 0],
        "width": tables.sizes[:, 1],
        "objects": np.bincount(tables.annotated.image, minlength=len(names)),
        "detections": np.bincount(tables.found.image, minlength=len(names)),
        **quality,
    }
    if tables.federated:
        images["absent"] = np.asarray([json.dumps(each) for each in tables.absent], dtype=object)
        images["incomplete"] = np.asarray([json.dumps(each) for each in tables.incomplete], dtype=object)
    yield Outputs(images, split)
    yield Outputs({**_columns(tables.found, names), "score": tables.found.scores}, f"{split}:detections")
    objects = {"area": tables.annotated.areas, "crowd": tables.annotated.crowd}
    yield Outputs({**_columns(tables.annotated, names), **objects}, f"{split}:objects")


def stored_tables(table: "pa.Table", split: str = "test") -> Tables:
    """What :func:`outputs` wrote, from the table a store keeps of a cell.

    Raises ``KeyError`` where the table holds no detections of the split, ``ValueError`` where it names images twice or
    detections of images it does not know.
    """
    import pyarrow.compute as pc

    def rows(name: str) -> "pa.Table":
        return table.filter(pc.equal(table["split"], name))

    images, found, annotated = rows(split), rows(f"{split}:detections"), rows(f"{split}:objects")
    if not len(images) or not {"score", "left", "crowd"} <= set(table.column_names):
        splits = ", ".join(sorted(pc.unique(table["split"]).to_pylist()))
        raise KeyError(f"no stored detections of split {split!r}; the table has {splits}")
    names = images["item"].to_pylist()
    places = {name: row for row, name in enumerate(names)}
    if len(places) < len(names):
        raise ValueError(f"{len(names) - len(places)} images of split {split!r} are named twice")
    sizes = np.stack([images["height"].to_numpy(), images["width"].to_numpy()], axis=1).astype(np.int64)
    return Tables(
        names=tuple(names),
        sizes=sizes,
        absent=_lists(images, "absent"),
        incomplete=_lists(images, "incomplete"),
        found=Found(**_shapes(found, places, sizes), scores=found["score"].to_numpy().astype(np.float32)),
        annotated=Annotated(
            **_shapes(annotated, places, sizes),
            areas=annotated["area"].to_numpy().astype(np.float32),
            crowd=annotated["crowd"].to_numpy().astype(np.bool_),
        ),
    )


def _columns(shapes: Shapes, names: NDArray[Any]) -> dict[str, NDArray[Any]]:
    columns = {"item": names[shapes.image], "label": shapes.labels}
    columns |= {side: shapes.boxes[:, place] for place, side in enumerate(SIDES)}
    if shapes.outlines is not None:
        columns["mask"] = np.asarray([each.counts.decode("ascii") for each in shapes.outlines], dtype=object)
    return columns


def _shapes(rows: "pa.Table", places: Mapping[str, int], sizes: Int64[np.ndarray, "images 2"]) -> dict[str, Any]:
    items = rows["item"].to_pylist()
    if unknown := set(items) - set(places):
        raise ValueError(f"{len(unknown)} images have rows but are none of the split's, {min(unknown)!r} for one")
    image = np.asarray([places[item] for item in items], dtype=np.int64)
    masks = rows["mask"].to_pylist() if "mask" in rows.column_names else [None]
    outlines = None
    if None not in masks:
        of = zip(sizes[image].tolist(), masks, strict=True)
        outlines = tuple(RunLengths((height, width), text.encode("ascii")) for (height, width), text in of)
    return {
        "image": image,
        "labels": rows["label"].to_numpy().astype(np.int64),
        "boxes": np.stack([rows[side].to_numpy() for side in SIDES], axis=1).astype(np.float32),
        "outlines": outlines,
    }


def _lists(images: "pa.Table", column: str) -> tuple[tuple[int, ...] | None, ...]:
    if column not in images.column_names:
        return (None,) * len(images)
    read = (None if text is None else json.loads(text) for text in images[column].to_pylist())
    return tuple(None if each is None else tuple(each) for each in read)
