"""What may be wrong with annotated objects, found in all of a set before anything is learnt, and told at once."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from tasks.datasets.objects import Objects
from tasks.datasets.outline_boxes import outline_boxes
from tasks.datasets.outlines import Outline
from tasks.datasets.sources import some

PIXEL = 1.0
"""A box that leaves its image by no more is rounding, and is clipped without a word."""
MATCHING = 0.5
"""The intersection over union of a box and the box of its outline below which one of them is another object's."""
SLACK = 2.0
"""Pixels by which the sides of the two may differ all the same: of something small that is most of it."""


@dataclass
class Findings:
    """Errors and warnings about a set, a line a kind: how many there are, and the first of them by name."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, what: str, names: Sequence[str]) -> None:
        """Something that must be mended, if there are any ``names`` of it. ``what`` follows their number."""
        if names:
            self.errors.append(_line(what, names))

    def warning(self, what: str, names: Sequence[str]) -> None:
        """Something that a reader of the results must know, if there are any."""
        if names:
            self.warnings.append(_line(what, names))

    def finish(self, dataset: str) -> tuple[str, ...]:
        """The warnings. Raises ``ValueError`` with every line of both kinds where there is an error."""
        if self.errors:
            lines = [*self.errors, *(f"warning: {line}" for line in self.warnings)]
            raise ValueError("\n  ".join([f"dataset {dataset!r} must be mended:", *lines]))
        return tuple(self.warnings)


class Pictured(NamedTuple):
    """An image as its objects' checks need it.

    ``size`` is the decoded image's (height, width), None where it cannot be read; its objects are then passed over.
    ``stated`` is the size the annotations give it, if any; ``absent`` and ``incomplete`` are those of ``Objects``.
    """

    name: str
    size: tuple[int, int] | None
    stated: tuple[int, int] | None = None
    absent: tuple[int, ...] | None = None
    incomplete: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Annotations:
    """Everything annotated in the images of a split, a row an object, as it is written and not yet checked.

    ``image`` is the place of its image, ``labels`` its class or -1 where that is unknown (and told already),
    ``boxes`` left, top, right, bottom (NaN where there are none), ``areas`` NaN where none is stated. ``outlines`` hold
    None for an outline that is none. ``name`` says what to call a row, with its image.
    """

    image: Int64[np.ndarray, " n"]
    boxes: Float64[np.ndarray, "n 4"]
    labels: Int64[np.ndarray, " n"]
    areas: Float64[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    name: Callable[[int], str]
    outlines: Sequence[Outline | None] | None = None

    def __len__(self) -> int:
        return len(self.labels)


def checked(
    split: str, images: Sequence[Pictured], found: Annotations, findings: Findings, drop_bad_boxes: bool
) -> list[Objects]:
    """The objects of each image, their boxes clipped to it; those that are of no use are left out and in ``findings``.

    They are errors there, or warnings where bad boxes may be dropped.
    """
    _check_stated_sizes(split, images, findings)
    sizes = np.asarray([image.size or (0, 0) for image in images], np.float64).reshape(-1, 2)
    limits = sizes[found.image][:, [1, 0, 1, 0]]
    known = (limits[:, 0] > 0) & (found.labels >= 0)
    boxes = np.clip(found.boxes, 0, limits)
    bad = _bad_rows(found, boxes, known)
    for what, rows in bad.items():
        tell = findings.warning if drop_bad_boxes else findings.error
        hint = "; dropped" if drop_bad_boxes else "; mend them, or leave them out with --drop-bad-boxes"
        tell(f"of {len(found):,} objects in {split} {what}{hint}", _named(found, rows))
    kept = known & ~np.any([*bad.values()], axis=0)
    beyond = kept & (np.abs(found.boxes - boxes).max(axis=1, initial=0) > PIXEL)
    findings.warning(f"boxes in {split} leave their image by more than a pixel; clipped", _named(found, beyond))
    _check_outlines(split, found, boxes, kept, limits, findings)
    return _objects(images, found, boxes.astype(np.float32), np.flatnonzero(kept))


def labels_of(
    given: Sequence[Hashable],
    label: Mapping[Any, int],
    split: str,
    name: Callable[[int], str],
    findings: Findings,
) -> Int64[np.ndarray, " n"]:
    """The label of each object by what its class is called; -1, and an error, for what is none of the classes."""
    labels = np.asarray([label.get(each, -1) for each in given], dtype=np.int64)
    rows = np.flatnonzero(labels < 0).tolist()
    strange = [f"{name(row)}: {given[row]!r}" for row in rows[:_NAMED]] + [""] * max(0, len(rows) - _NAMED)
    findings.error(f"objects in {split} are of an unknown category (there are {len(label)})", strange)
    return labels


def repeated(values: Iterable[Hashable]) -> list[str]:
    """What is there more than once, as text.

    >>> repeated([3, 5, 3])
    ['3']
    """
    return [str(value) for value, count in Counter(values).items() if count > 1]


def check_categories(categories: Mapping[str, Mapping[Any, str]], findings: Findings) -> None:
    """An error for each split whose categories (names by number) are not those of the first."""
    first, *others = categories
    for other in others:
        one, two = categories[first], categories[other]
        lines = [f"{key!r} is {one[key]!r} and {two[key]!r}" for key in one if key in two and one[key] != two[key]]
        lines += [f"{key!r} ({one[key]!r}) is in {first} alone" for key in one if key not in two]
        lines += [f"{key!r} ({two[key]!r}) is in {other} alone" for key in two if key not in one]
        findings.error(f"categories differ between {first} and {other}; give both splits one list", lines)


def check_coverage(classes: Sequence[str], objects: Mapping[str, Sequence[Objects]], findings: Findings) -> None:
    """A warning for each split that has classes without an object (crowds are none)."""
    for split, images in objects.items():
        labels = [image.labels[~image.crowd] for image in images]
        held = np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=len(classes))
        lacking = [name for name, count in zip(classes, held, strict=True) if not count]
        findings.warning(f"of {len(classes):,} classes have no object in {split}", lacking)


_NAMED = 6
"""One more than are printed, so that it shows that there are more."""


def _line(what: str, names: Sequence[str]) -> str:
    return f"{len(names):,} {what}: {some(names)}"


def _named(found: Annotations, rows: Bool[np.ndarray, " n"]) -> list[str]:
    """A name for each row, of which only the first are ever printed: of a million, the others need none."""
    places = np.flatnonzero(rows).tolist()
    return [found.name(place) for place in places[:_NAMED]] + [""] * max(0, len(places) - _NAMED)


def _check_stated_sizes(split: str, images: Sequence[Pictured], findings: Findings) -> None:
    others = [
        f"{image.name}: {image.size[1]} x {image.size[0]}, stated {image.stated[1]} x {image.stated[0]}"
        for image in images
        if image.size and image.stated and image.size != image.stated
    ]
    findings.error(
        f"of {len(images):,} images in {split} are not of their stated size (width x height), so that boxes may be "
        "elsewhere; mend the annotations, or remove the size from them if the boxes are right",
        others,
    )


def _bad_rows(
    found: Annotations, clipped: Float64[np.ndarray, "n 4"], known: Bool[np.ndarray, " n"]
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Rows without use, by what is wrong with them first."""
    numbers = np.isfinite(found.boxes).all(axis=1)
    wide = _has_area(found.boxes)
    single = clipped.astype(np.float32)
    reasons = {
        "have a box that is not four finite numbers": ~numbers,
        "have a box without width or height": ~wide,
        "have a box outside their image": ~_has_area(clipped),
        "have a box too thin to be told from a line": ~_has_area(single),
        "have an area that is negative or infinite": (found.areas < 0) | np.isinf(found.areas),
    }
    if found.outlines is not None:
        reasons["have an outline that is none"] = np.asarray([each is None for each in found.outlines], dtype=bool)
    left = known.copy()
    bad = {}
    for what, rows in reasons.items():
        bad[what] = left & rows
        left &= ~rows
    return bad


def _has_area(boxes: np.ndarray) -> Bool[np.ndarray, " n"]:
    return np.asarray((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def _check_outlines(
    split: str,
    found: Annotations,
    boxes: Float64[np.ndarray, "n 4"],
    kept: Bool[np.ndarray, " n"],
    limits: Float64[np.ndarray, "n 4"],
    findings: Findings,
) -> None:
    """Warns of outlines whose own box is another one."""
    rows = np.flatnonzero(kept)
    if found.outlines is None or not len(rows):
        return
    around = np.clip(outline_boxes([found.outlines[row] or () for row in rows.tolist()]), 0, limits[rows])
    stated = boxes[rows]
    inner = np.minimum(around[:, 2:], stated[:, 2:]) - np.maximum(around[:, :2], stated[:, :2])
    shared = np.clip(inner, 0, None).prod(axis=1)
    union = sum((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (around, stated)) - shared
    other = np.zeros(len(found), dtype=bool)
    other[rows] = (shared < MATCHING * union) & (np.abs(around - stated).max(axis=1) > SLACK)
    findings.warning(
        f"of {len(rows):,} outlines in {split} do not match their box (IoU below {MATCHING})", _named(found, other)
    )


def _objects(
    images: Sequence[Pictured], found: Annotations, boxes: np.ndarray, kept: Int64[np.ndarray, " k"]
) -> list[Objects]:
    """The kept rows, divided by their images in the source's order."""
    rows = kept[np.argsort(found.image[kept], kind="stable")]
    ends = np.searchsorted(found.image[rows], np.arange(len(images)), side="right").tolist()
    areas = np.where(np.isnan(found.areas), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), found.areas)
    areas = areas[rows].astype(np.float32)
    boxes, labels, crowd = boxes[rows], found.labels[rows], found.crowd[rows]
    outlines = None if found.outlines is None else [found.outlines[row] or () for row in rows.tolist()]
    objects, start = [], 0
    for image, end in zip(images, ends, strict=True):
        own = slice(start, end)
        objects.append(
            Objects(
                image.size or (0, 0),
                boxes[own],
                labels[own],
                areas[own],
                crowd[own],
                None if outlines is None else tuple(outlines[own]),
                image.absent,
                image.incomplete,
            )
        )
        start = end
    return objects
