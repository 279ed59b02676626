"""What a detection task yields from what was found: metrics of boxes and masks, the kinds of errors, and every item."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.base import Note, Outputs, Score
from tasks.datasets.objects import Objects
from tasks.detection.evaluation.error_types import error_gains
from tasks.detection.evaluation.intervals import INTERVALS, intervals
from tasks.detection.evaluation.measured import Measured, measured
from tasks.detection.evaluation.metrics import Frequency, by_class, by_image, metrics
from tasks.detection.evaluation.stored import outputs, stored_tables
from tasks.detection.evaluation.tables import ImageDetections, Tables, refuse_invalid, tables

if TYPE_CHECKING:
    import pyarrow as pa


def evaluate(
    found: Sequence[ImageDetections],
    truths: Sequence[Objects],
    names: Sequence[str],
    classes: Sequence[str],
    frequency: Sequence[Frequency] | None = None,
    split: str = "test",
) -> Iterator[Score | Outputs | Note]:
    """The metrics of detections in the images called ``names``, ``ap`` first, and all that later metrics need.

    Those of masks (``mask_ap``) follow where masks were found and are annotated. ``frequency`` says of each class how
    frequent it is in training images (LVIS: ``ap_rare``, ``ap_common``, ``ap_frequent``). A metric of which there is no
    object (no small ones, say) is no score, and a note says so. Images without objects count: what is found in them is
    wrong. Raises ``ValueError`` for what no metric may be computed from, see :func:`.tables.tables`.
    """
    asked = tables(found, truths, names, classes)
    boxes = measured(asked, len(classes), "box")
    yield from _report(asked, boxes, classes, frequency, split)
    yield from outputs(asked, {"ap50": by_image(boxes)}, split)


def rescore(
    table: "pa.Table", classes: Sequence[str], frequency: Sequence[Frequency] | None = None, split: str = "test"
) -> Iterator[Score | Note]:
    """The same scores and notes from the outputs a store kept (``Store.outputs``), without any detector."""
    asked = stored_tables(table, split)
    refuse_invalid(asked, len(classes))
    yield from _report(asked, measured(asked, len(classes), "box"), classes, frequency, split)


def _report(
    asked: Tables, boxes: Measured, classes: Sequence[str], frequency: Sequence[Frequency] | None, split: str
) -> Iterator[Score | Note]:
    if frequency is not None and len(frequency) != len(classes):
        raise ValueError(f"{len(frequency)} frequencies are given for {len(classes)} classes; each class needs one")
    kinds: Mapping[str, Measured] = {"": boxes}
    if asked.masks:
        kinds = {"": boxes, "mask_": measured(asked, len(classes), "mask")}
    undefined = []
    for prefix, each in kinds.items():
        values, spread = metrics(each, frequency, asked.federated), intervals(each)
        for name, value in values.items():
            if np.isnan(value):
                undefined.append(f"{prefix}{name}")
            else:
                interval = spread[name] if name in INTERVALS else None
                yield Score(f"{prefix}{name}", value, split=split, interval=interval)
        yield Note(f"{prefix}ap_by_class{_of(split)}", _named(classes, by_class(each)))
    for kind, gain in error_gains(boxes).items():
        yield Score(f"error_{kind}", gain, split=split, higher_is_better=False)
    if undefined:
        yield Note(f"no objects to be found for{_of(split)}", undefined)


def _named(classes: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    """None of a class without objects: it has no part in any mean."""
    return {name: None if np.isnan(value) else value for name, value in zip(classes, values.tolist(), strict=True)}


def _of(split: str) -> str:
    """Notes of several test sets are told apart by their names."""
    return "" if split == "test" else f":{split}"
