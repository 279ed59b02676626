"""The objects of every image, from tables of COCO's format, with everything amiss among the findings."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tasks.datasets.coco_outlines import outlines_of
from tasks.datasets.coco_tables import CocoTable, fields_of
from tasks.datasets.object_checks import (
    Annotations,
    Findings,
    Pictured,
    check_coverage,
    checked,
    labels_of,
    repeated,
)
from tasks.datasets.objects import Objects


@dataclass(frozen=True)
class Pictures:
    """A split's table, with the name and the file of each of its images."""

    table: CocoTable
    names: Sequence[str]
    files: Sequence[str]

    @cached_property
    def row(self) -> dict[Hashable, int]:
        """The image by its number; of two of one number the first."""
        with fields_of(self.table.file):
            numbers = [image["id"] for image in self.table.images]
            return {number: row for row, number in reversed([*enumerate(numbers)])}


Sizes = Mapping[str, tuple[int, int]]
"""The decoded (height, width) of the files that can be read."""


def objects_of(
    pictures: Mapping[str, Pictures], sizes: Sizes, federated: bool, drop_bad_boxes: bool, findings: Findings
) -> dict[str, list[Objects]]:
    """The objects of each split's images, in the images' order; ``federated``: each must say what it was searched for.

    Labels are places in the order of the first split's categories.
    """
    categories = next(iter(pictures.values())).table.categories
    label = {number: place for place, number in enumerate(categories)}
    listed = {split: _listed(split, each, findings) for split, each in pictures.items()}
    annotations = {split: _annotations(split, each, label, findings) for split, each in listed.items()}
    outlines = _all_or_none({split: _outlines(each, sizes) for split, each in listed.items()}, findings)
    objects = {}
    for split, each in listed.items():
        images = _images(split, each, sizes, label, findings)
        if federated:
            unsearched = [image.name for image in images if image.absent is None or image.incomplete is None]
            findings.error(f"images of {split} have no neg_category_ids or not_exhaustive_category_ids", unsearched)
        found = replace(annotations[split], outlines=outlines[split])
        objects[split] = checked(split, images, found, findings, drop_bad_boxes)
    check_coverage([*categories.values()], objects, findings)
    return objects


def _listed(split: str, found: Pictures, findings: Findings) -> Pictures:
    """The same without annotations of images that are not listed; numbers that are given twice are told as well."""
    table = found.table
    owners = table.column("image_id")
    with fields_of(table.file):
        findings.error(f"numbers of images of {split} are given twice", repeated(image["id"] for image in table.images))
        findings.error(f"images of {split} are listed twice", repeated(found.files))
        findings.error(f"numbers of annotations of {split} are given twice", repeated(table.column("id")))
        strays = [row for row, owner in enumerate(owners) if owner not in found.row]
    findings.error(
        f"annotations of {split} are of an image that is not listed",
        [f"annotation {table.annotations[row]['id']} of image {owners[row]!r}" for row in strays],
    )
    if not strays:
        return found
    kept = [each for each in table.annotations if each["image_id"] in found.row]
    return replace(found, table=replace(table, annotations=kept))


def _annotations(split: str, found: Pictures, label: Mapping[Any, int], findings: Findings) -> Annotations:
    table = found.table
    numbers, rows = table.column("id"), _rows(found)

    def name(row: int) -> str:
        return f"annotation {numbers[row]} of {found.names[rows[row]]}"

    with fields_of(table.file):
        labels = labels_of(table.column("category_id"), label, split, name, findings)
    return Annotations(np.asarray(rows, dtype=np.int64), table.boxes, labels, table.areas, table.crowd, name)


def _rows(found: Pictures) -> list[int]:
    return [found.row[owner] for owner in found.table.column("image_id")]


def _outlines(found: Pictures, sizes: Sizes) -> tuple[list[Any] | None, list[str]]:
    """The outlines, and the annotations that have none."""
    annotations = found.table.annotations
    stated = [each.get("segmentation") for each in annotations]
    outlines, lacking = outlines_of(stated, [sizes.get(found.files[row]) for row in _rows(found)])
    rows = lacking if outlines else range(len(annotations))
    return outlines, [f"annotation {annotations[row]['id']}" for row in rows]


def _all_or_none(
    found: Mapping[str, tuple[list[Any] | None, list[str]]], findings: Findings
) -> dict[str, list[Any] | None]:
    """Outlines of every object of every split, or none at all: masks learnt of some objects are no mask of the rest."""
    if all(outlines is None for outlines, _ in found.values()):
        return dict.fromkeys(found)
    lacking = [f"{name} ({split})" for split, (_, names) in found.items() for name in names]
    if lacking:
        findings.warning("objects have no segmentation, so those of all others are not read", lacking)
        return dict.fromkeys(found)
    return {split: outlines or [] for split, (outlines, _) in found.items()}


def _images(split: str, found: Pictures, sizes: Sizes, label: Mapping[Any, int], findings: Findings) -> list[Pictured]:
    strange = []
    images = []
    for image, name, file in zip(found.table.images, found.names, found.files, strict=True):
        stated = image.get("height"), image.get("width")
        searched: list[tuple[int, ...] | None] = []
        for field in ("neg_category_ids", "not_exhaustive_category_ids"):
            numbers = image.get(field)
            with fields_of(found.table.file):
                labels = None if numbers is None else sorted(label.get(number, -1) for number in numbers)
            if labels and labels[0] < 0:
                strange.append(f"{name} ({field})")
            searched.append(None if labels is None else tuple(labels))
        sized = stated if all(isinstance(each, int) and each for each in stated) else None
        images.append(Pictured(name, sizes.get(file), sized, *searched))  # type: ignore[arg-type]
    findings.error(f"images of {split} name an unknown category as not there or not complete", strange)
    return images
