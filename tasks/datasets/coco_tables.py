"""A json file of COCO's format (images, annotations, categories), taken apart into columns."""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool, Float64

from tasks.datasets.base import Frequency
from tasks.datasets.sources import Source, printable


@dataclass(frozen=True)
class CocoTable:
    """What the file says; an image and an annotation are mappings as COCO documents them.

    ``categories`` are names by number, in the order of the numbers; ``frequency`` is theirs, where every one states it.
    """

    file: str
    images: Sequence[Mapping[str, Any]]
    annotations: Sequence[Mapping[str, Any]]
    categories: Mapping[int, str]
    frequency: tuple[Frequency, ...] | None

    def column(self, field: str) -> list[Any]:
        """A field of every annotation. Raises ``ValueError`` naming the file where one lacks it."""
        with fields_of(self.file):
            return [each[field] for each in self.annotations]

    @property
    def boxes(self) -> Float64[np.ndarray, "n 4"]:
        """Left, top, right, bottom; NaN for what is no four numbers."""
        given = [each.get("bbox") for each in self.annotations]
        try:
            boxes = np.asarray(given, dtype=np.float64).reshape(len(given), 4)
        except (TypeError, ValueError, OverflowError):
            boxes = np.asarray([_four(each) for each in given], dtype=np.float64).reshape(len(given), 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @property
    def areas(self) -> Float64[np.ndarray, " n"]:
        """As stated; NaN where none is."""
        given = [each.get("area") for each in self.annotations]
        return np.asarray([each if isinstance(each, float | int) else np.nan for each in given], dtype=np.float64)

    @property
    def crowd(self) -> Bool[np.ndarray, " n"]:
        """Whether a region is a crowd; where nothing is said it is none."""
        return np.asarray([bool(each.get("iscrowd")) for each in self.annotations], dtype=bool)


def read_table(source: Source, file: str) -> CocoTable:
    """The table in a file of the source. Raises ``ValueError`` naming the file and the field that is amiss."""
    place = f"{source.location}/{printable(file)}"
    data = source.read(file)
    try:
        with _uncollected():
            found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{place} holds a {type(found).__name__}, not an object with images and annotations")
    parts = {field: found.get(field) for field in ("images", "annotations", "categories")}
    for field, part in parts.items():
        if not isinstance(part, list) or not all(isinstance(each, dict) for each in part):
            raise ValueError(f"{place} is no set of COCO's format: it has no list {field!r} of objects")
    with fields_of(place):
        categories = sorted((parts["categories"] or []), key=lambda each: int(each["id"]))
        names = {int(each["id"]): str(each["name"]) for each in categories}
    _check_categories(place, [int(each["id"]) for each in categories], [*names.values()])
    stated = tuple(each.get("frequency") for each in categories)
    frequency = stated if stated and all(each in get_args(Frequency) for each in stated) else None
    return CocoTable(place, parts["images"] or [], parts["annotations"] or [], names, frequency)


@contextmanager
def fields_of(place: str) -> Iterator[None]:
    """Says of which file it is that an entry lacks a field or holds something else in it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{place} is damaged: an entry has no field {error}") from error


def _check_categories(place: str, numbers: Sequence[int], names: Sequence[str]) -> None:
    if not numbers:
        raise ValueError(f"{place} has no categories")
    for what, values in (("numbers", numbers), ("names", names)):
        if twice := sorted({str(value) for value in values if [*values].count(value) > 1}):
            raise ValueError(f"{place}: categories of the same {what}: {', '.join(twice[:5])}; make them differ")


def _four(box: Any) -> list[float]:
    sound = isinstance(box, list) and len(box) == 4 and all(isinstance(each, float | int) for each in box)
    try:
        return [float(each) for each in box] if sound else [np.nan] * 4
    except OverflowError:  # a whole number beyond all floats
        return [np.nan] * 4


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for cycles, of which json has none: 0.9 s for 2.0 s with 800,000 boxes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
