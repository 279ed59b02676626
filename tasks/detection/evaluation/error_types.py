"""What kinds of errors cost a detector average precision, by what setting each kind right would gain.

TIDE (Bolya, Foley, Hays and Hoffman 2020). A detection that is wrong at an IoU of 0.5 is of the first of these kinds it
fits, in the order of the authors' program; IoU is the highest with an object of its class, or of another:

    localisation    0.1 to 0.5 with its own class            set right: it finds that object
    classification  0.5 or more with another class           set right: it finds that object, of that class
    duplicate       0.5 or more with its own class, found    taken away
    background      below 0.1 with every object              taken away
    both            what is left                             taken away
    missed          an object that no detection found, nor would with its place or class set right: taken away

Where several detections would find one object the surest does and the others are taken away. The gain is in AP50; a
class all of whose objects were taken away has 1 where nothing was found in vain, else 0. Gains do not add up to what
is missing to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from tasks.detection.evaluation.curves import ranked
from tasks.detection.evaluation.measured import Measured
from tasks.detection.evaluation.overlaps import Pairs, overlapping

FOREGROUND, BACKGROUND = 0.5, 0.1
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
Rows = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Judged:
    """Every detection: which object it found (-1: none), whether it counts; and which objects are to be found."""

    found: Rows
    counted: Bool[np.ndarray, " found"]
    labels: Rows
    objects: Bool[np.ndarray, " annotated"]


@dataclass(frozen=True)
class Errors:
    """The detections of each kind of error (rows), the object each of two kinds would find, and the missed objects."""

    detections: Mapping[str, Rows]
    targets: Mapping[str, Rows]
    missed: Rows


def error_gains(asked: Measured) -> dict[str, float]:
    """How much AP50 each kind of error costs, by its name: what there is without them less what there is."""
    judged = _judged(asked)
    errors = errors_of(asked)
    before, gains = _average_precision(asked, judged), {}
    for kind in KINDS:
        mended = _mended(asked, judged, errors, kind)
        after = _average_precision(asked, mended)
        after = np.where(np.isnan(after), _nothing_left(mended, asked.classes), after)
        gains[kind] = float((after - before)[~np.isnan(before)].mean())
    return gains


def errors_of(asked: Measured) -> Errors:
    """Every wrong detection by its kind, and the objects that were missed."""
    judged = _judged(asked)
    wrong = judged.counted & (judged.found < 0)
    near = overlapping(asked.found, asked.annotated, asked.classes, asked.kind, BACKGROUND, across_classes=True)
    own = asked.found.labels[near.found] == asked.annotated.labels[near.annotated]
    own_overlap, own_object = _closest(near, own & judged.objects[near.annotated], len(wrong))
    other_overlap, other_object = _closest(near, ~own & judged.objects[near.annotated], len(wrong))
    fits = {
        "localisation": (own_overlap >= BACKGROUND) & (own_overlap < FOREGROUND),
        "classification": other_overlap >= FOREGROUND,
        "duplicate": own_overlap >= FOREGROUND,
        "background": np.maximum(own_overlap, other_overlap) < BACKGROUND,
        "both": np.ones(len(wrong), dtype=bool),
    }
    detections, left = {}, wrong
    for kind, fit in fits.items():
        detections[kind] = np.flatnonzero(left & fit)
        left = left & ~fit
    targets = {
        "localisation": own_object[detections["localisation"]],
        "classification": other_object[detections["classification"]],
    }
    reached = np.zeros(len(judged.objects), dtype=bool)
    reached[np.concatenate([judged.found[judged.found >= 0], *targets.values()])] = True
    return Errors(detections, targets, np.flatnonzero(judged.objects & ~reached))


def _judged(asked: Measured) -> Judged:
    matches = asked.matched("all", [FOREGROUND])
    found = np.full(len(asked.found), -1)
    found[matches.rows] = matches.to[0]
    objects = asked.counts()
    in_crowd = (found >= 0) & ~objects[found] if len(objects) else np.zeros(len(found), dtype=bool)
    counted = np.where(found >= 0, ~in_crowd, ~asked.open_ended)
    return Judged(np.where(in_crowd, -1, found), counted, asked.found.labels, objects)


def _closest(near: Pairs, which: Bool[np.ndarray, " pairs"], many: int) -> tuple[Float64[np.ndarray, " many"], Rows]:
    """The highest overlap of each detection, and with which object; 0 and -1 where there is none."""
    order = np.flatnonzero(which)[np.argsort(near.overlap[which], kind="stable")]
    overlap, annotated = np.zeros(many), np.full(many, -1)
    overlap[near.found[order]] = near.overlap[order]  # the last of a detection's stays: the highest
    annotated[near.found[order]] = near.annotated[order]
    return overlap, annotated


def _mended(asked: Measured, judged: Judged, errors: Errors, kind: str) -> Judged:
    """As if one kind of error were not made."""
    if kind == "missed":
        objects = judged.objects.copy()
        objects[errors.missed] = False
        return replace(judged, objects=objects)
    rows, targets = errors.detections[kind], errors.targets.get(kind)
    found, counted, labels = judged.found.copy(), judged.counted.copy(), judged.labels.copy()
    if targets is not None:
        found[rows], labels[rows] = targets, asked.annotated.labels[targets]
        rows = _not_the_surest(found, asked.found.scores)
    found[rows], counted[rows] = -1, False
    return replace(judged, found=found, counted=counted, labels=labels)


def _not_the_surest(found: Rows, scores: Float32[np.ndarray, " found"]) -> Rows:
    """The detections whose object is found by one with a higher score."""
    matched = np.flatnonzero(found >= 0)
    by_score = matched[np.argsort(-scores[matched], kind="stable")]
    _, surest = np.unique(found[by_score], return_index=True)
    return np.delete(by_score, surest)


def _average_precision(asked: Measured, judged: Judged) -> Float64[np.ndarray, " classes"]:
    objects = asked.annotated.image[judged.objects], asked.annotated.labels[judged.objects]
    curve = ranked(asked.found, judged.labels, judged.found >= 0, judged.counted, objects, asked.classes)
    return np.asarray(curve.precision(np.ones(asked.images))[0])


def _nothing_left(judged: Judged, classes: int) -> Float64[np.ndarray, " classes"]:
    """What a class has without objects: 1 where nothing was found in vain, else 0."""
    vain = np.bincount(judged.labels[judged.counted], minlength=classes)
    return np.asarray(vain == 0, dtype=np.float64)
