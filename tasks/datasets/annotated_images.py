"""From images with a file of objects each to a dataset: sizes found, objects checked, everything amiss told at once."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.content_hashes import content_hashes
from tasks.datasets.manifest import Item
from tasks.datasets.object_checks import Annotations, Findings, Pictured, check_coverage, checked, labels_of
from tasks.datasets.objects import Objects
from tasks.datasets.outlines import Outline
from tasks.datasets.readable import check_readable, decoded_sizes
from tasks.datasets.sources import Source

NO_BOX = (np.nan,) * 4


class Row(NamedTuple):
    """One object as its file has it: left, top, right, bottom in pixels, what its class is called, and an outline.

    ``area`` is the outline's in pixels, NaN where there is none.
    """

    box: tuple[float, float, float, float]
    label: str | int
    crowd: bool = False
    outline: Outline | None = None
    area: float = np.nan


class Picture(NamedTuple):
    """An image with its objects. ``stated`` is the (height, width) its annotations give it, if they do."""

    split: str
    file: str
    name: str
    rows: Sequence[Row]
    stated: tuple[int, int] | None = None


@dataclass(frozen=True)
class Annotated:
    """What a reader found. ``labels`` says which label each class has by what it is called in the rows."""

    name: str
    source: Source
    pictures: Sequence[Picture]
    classes: tuple[str, ...]
    labels: Mapping[Hashable, int]
    origin: str
    licence: str = "not stated"
    outlined: bool = False


def sizes_of(
    source: Source, files: Iterable[str], options: OpenOptions, findings: Findings
) -> dict[str, tuple[int, int]]:
    """The (height, width) of every image that decodes; the others are errors, unless they are to be skipped."""
    here = sorted({*files})
    contents = content_hashes(source, here, options.cache)
    if not options.skip_unreadable:
        bad = check_readable(source, here, contents, options.cache)
        findings.error(
            "images cannot be read (mend or remove them, or leave them out with --skip-unreadable)",
            [f"{file}: {reason}" for file, reason in bad.items()],
        )
    return decoded_sizes(source, here, contents, options.cache)


def assemble_objects(found: Annotated, findings: Findings, options: OpenOptions) -> Dataset:
    """The dataset, with ``findings`` of the reader and of the checks as its warnings.

    Raises ``ValueError`` with all that must be mended.
    """
    sizes = sizes_of(found.source, [picture.file for picture in found.pictures], options, findings)
    objects = dict[str, list[Objects]]()
    items = list[Item]()
    for split in dict.fromkeys(picture.split for picture in found.pictures):
        pictures = [picture for picture in found.pictures if picture.split == split]
        images = [Pictured(picture.name, sizes.get(picture.file), picture.stated) for picture in pictures]
        annotations = _annotations(split, pictures, found, findings)
        objects[split] = checked(split, images, annotations, findings, options.drop_bad_boxes)
        items += [
            Item(split, "", picture.file, picture.name, objects=own)
            for picture, own in zip(pictures, objects[split], strict=True)
        ]
    check_coverage(found.classes, objects, findings)
    return assemble(
        Found(
            found.name,
            found.source,
            items,
            found.classes,
            found.origin,
            found.licence,
            findings.finish(found.name),
            target="objects",
        ),
        options,
    )


def _annotations(split: str, pictures: Sequence[Picture], found: Annotated, findings: Findings) -> Annotations:
    owners = [place for place, picture in enumerate(pictures) for _ in picture.rows]
    rows = [row for picture in pictures for row in picture.rows]

    def name(row: int) -> str:
        picture = pictures[owners[row]]
        return f"object {row - owners.index(owners[row]) + 1} of {picture.name}"

    return Annotations(
        np.asarray(owners, dtype=np.int64),
        np.asarray([row.box for row in rows], dtype=np.float64).reshape(-1, 4),
        labels_of([row.label for row in rows], found.labels, split, name, findings),
        np.asarray([row.area for row in rows], dtype=np.float64),
        np.asarray([row.crowd for row in rows], dtype=bool),
        name,
        [row.outline for row in rows] if found.outlined else None,
    )
