"""What was found in a set of images beside what is annotated there, as columns over all images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from numpy.typing import NDArray

from tasks.datasets.objects import Objects
from tasks.datasets.outlines import RunLengths, run_lengths


class ImageDetections(NamedTuple):
    """What a detector found in one image: boxes are left, top, right, bottom in pixels of the original image.

    ``scores`` are finite, higher meaning surer; ``labels`` count classes from 0. ``outlines`` are masks of the size of
    the original image, one a box; None of a detector that draws none.
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    outlines: tuple[RunLengths, ...] | None = None


@dataclass(frozen=True)
class Shapes:
    """Rows of labelled boxes: of which image each is (a row of the image table), its class, and its mask if any."""

    image: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    boxes: Float32[np.ndarray, "n 4"]
    outlines: tuple[RunLengths, ...] | None = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def words(self, row: int) -> str:
        """One row, to be read."""
        return f"box {self.boxes[row].tolist()}, class {self.labels[row]}"

    def box_areas(self) -> Float64[np.ndarray, " n"]:
        """Pixels of each box."""
        sides = np.diff(self.boxes.astype(np.float64).reshape(-1, 2, 2), axis=1)[:, 0]
        return np.asarray(sides.prod(axis=1))


@dataclass(frozen=True)
class Found(Shapes):
    """Every detection, image by image."""

    scores: Float32[np.ndarray, " n"]

    def words(self, row: int) -> str:
        """One row, to be read."""
        return f"{super().words(row)}, score {self.scores[row]}"

    def only(self, rows: Int64[np.ndarray, " k"]) -> "Found":
        """Some of them, in the order asked for."""
        outlines = None if self.outlines is None else tuple(self.outlines[row] for row in rows.tolist())
        return Found(self.image[rows], self.labels[rows], self.boxes[rows], outlines, self.scores[rows])


@dataclass(frozen=True)
class Annotated(Shapes):
    """Every annotated object, image by image; see :class:`tasks.datasets.objects.Objects`."""

    areas: Float32[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Tables:
    """All there is to evaluate. Row ``i`` of ``names``, ``sizes``, ``absent`` and ``incomplete`` is one image."""

    names: tuple[str, ...] = field(repr=False)
    sizes: Int64[np.ndarray, "images 2"] = field(repr=False)
    absent: tuple[tuple[int, ...] | None, ...] = field(repr=False)
    incomplete: tuple[tuple[int, ...] | None, ...] = field(repr=False)
    found: Found
    annotated: Annotated

    @property
    def federated(self) -> bool:
        """Whether an image was searched for some classes only, as LVIS's are."""
        return any(each is not None for each in self.absent)

    @property
    def masks(self) -> bool:
        """Whether masks were both found and annotated."""
        return self.found.outlines is not None and self.annotated.outlines is not None


def tables(
    found: Sequence[ImageDetections], truths: Sequence[Objects], names: Sequence[str], classes: Sequence[str]
) -> Tables:
    """The detections and the annotations of the same images, in one order, as columns.

    Raises ``ValueError`` (which image, which row, what) for what no metric may be computed from: boxes or scores that
    are NaN or infinite, boxes whose right side is left of the left one, unknown classes, columns of unequal length,
    masks of another size than the image; and where there is no object at all that could be found.
    """
    if not len(found) == len(truths) == len(names):
        raise ValueError(
            f"evaluation needs the same images on both sides: {len(names)} names, detections of {len(found)} images, "
            f"annotations of {len(truths)}"
        )
    for name, detections in zip(names, found, strict=True):
        _refuse_ragged(name, detections)
    if not any((~objects.crowd).any() for objects in truths):
        raise ValueError(f"no object is annotated in any of {len(truths)} images: average precision is undefined")
    whole = Tables(
        names=tuple(names),
        sizes=np.asarray([objects.size for objects in truths], np.int64).reshape(-1, 2),
        absent=tuple(objects.absent for objects in truths),
        incomplete=tuple(objects.incomplete for objects in truths),
        found=Found(
            image=_image_of([len(each.labels) for each in found]),
            labels=_joined([each.labels for each in found], np.int64),
            boxes=_joined([each.boxes for each in found], np.float32).reshape(-1, 4),
            scores=_joined([each.scores for each in found], np.float32),
            outlines=_outlines_found(found, names),
        ),
        annotated=Annotated(
            image=_image_of([len(each) for each in truths]),
            labels=_joined([each.labels for each in truths], np.int64),
            boxes=_joined([each.boxes for each in truths], np.float32).reshape(-1, 4),
            areas=_joined([each.areas for each in truths], np.float32),
            crowd=_joined([each.crowd for each in truths], np.bool_),
            outlines=_outlines_annotated(truths),
        ),
    )
    refuse_invalid(whole, len(classes))
    return whole


def refuse_invalid(whole: Tables, classes: int) -> None:
    """Raises ``ValueError`` for what no metric may be computed from, naming the image and the row in it."""
    found, annotated = whole.found, whole.annotated
    for what, rows, bad in (
        ("detections have a box that is NaN or infinite", found, ~np.isfinite(found.boxes).all(axis=1)),
        ("detections have a score that is NaN or infinite", found, ~np.isfinite(found.scores)),
        ("detections have a box that ends before it begins", found, _inverted(found)),
        (f"detections have a class that is none of the {classes} from 0", found, _unknown(found, classes)),
        ("objects have a box that is NaN or infinite", annotated, ~np.isfinite(annotated.boxes).all(axis=1)),
        (f"objects have a class that is none of the {classes} from 0", annotated, _unknown(annotated, classes)),
        ("detections have a mask of another size than the image", found, _resized(whole, found)),
        ("objects have a mask of another size than the image", annotated, _resized(whole, annotated)),
    ):
        if bad.any():
            place = int(bad.argmax())
            image = int(rows.image[place])
            row = place - int(np.argmax(rows.image == image))
            raise ValueError(
                f"{int(bad.sum())} {what}; the first is row {row} of image {whole.names[image]!r} "
                f"({rows.words(place)}). No metric is computed from it"
            )


def _inverted(found: Found) -> Bool[np.ndarray, " n"]:
    return np.asarray((found.boxes[:, 2:] < found.boxes[:, :2]).any(axis=1))


def _unknown(rows: Shapes, classes: int) -> Bool[np.ndarray, " n"]:
    return np.asarray((rows.labels < 0) | (rows.labels >= classes))


def _resized(whole: Tables, rows: Shapes) -> Bool[np.ndarray, " n"]:
    if rows.outlines is None:
        return np.zeros(len(rows), dtype=np.bool_)
    sizes = np.asarray([each.size for each in rows.outlines], np.int64).reshape(-1, 2)
    return np.asarray((sizes != whole.sizes[rows.image]).any(axis=1))


def _refuse_ragged(name: str, found: ImageDetections) -> None:
    lengths = {"boxes": len(found.boxes), "scores": len(found.scores), "labels": len(found.labels)}
    if found.outlines is not None:
        lengths["outlines"] = len(found.outlines)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"detections of image {name!r} have columns of different lengths: {lengths}")


def _outlines_found(found: Sequence[ImageDetections], names: Sequence[str]) -> tuple[RunLengths, ...] | None:
    """All masks; None where none are drawn. An image in which nothing was found may say either."""
    some = [(each.outlines is not None, name) for each, name in zip(found, names, strict=True) if len(each.labels)]
    if not some:
        return () if found and all(each.outlines is not None for each in found) else None
    if len({drawn for drawn, _ in some}) > 1:
        first = next(name for drawn, name in some if not drawn)
        raise ValueError(f"detections of image {first!r} have no masks, those of others have; draw all or none")
    return tuple(outline for each in found for outline in each.outlines or ()) if some[0][0] else None


def _outlines_annotated(truths: Sequence[Objects]) -> tuple[RunLengths, ...] | None:
    if any(each.outlines is None and len(each) for each in truths):
        return None
    return tuple(run_lengths(outline, each.size) for each in truths for outline in each.outlines or ())


def _image_of(counts: Sequence[int]) -> Int64[np.ndarray, " n"]:
    return np.repeat(np.arange(len(counts)), counts)


def _joined(columns: Sequence[NDArray[np.generic]], kind: type) -> NDArray[np.generic]:
    return np.concatenate([np.zeros((0, *columns[0].shape[1:])), *columns], dtype=kind, casting="unsafe")
