"""The classes that two sets have in common by name, and objects and detections of those alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from tasks.datasets.objects import Objects
from tasks.detection.evaluation.tables import ImageDetections


@dataclass(frozen=True)
class SharedClasses:
    """``names`` in the order of the set that is learnt; of each class of either set its place there, or -1."""

    names: tuple[str, ...]
    of_learnt: Int64[np.ndarray, " learnt"]
    of_tested: Int64[np.ndarray, " tested"]


def shared_classes(learnt: Sequence[str], tested: Sequence[str]) -> SharedClasses:
    """
    >>> shared_classes(("person", "car", "bus"), ("bus", "rider", "person")).names
    ('person', 'bus')
    """
    names = tuple(name for name in learnt if name in set(tested))
    places = {name: place for place, name in enumerate(names)}
    of_learnt, of_tested = (
        np.asarray([places.get(name, -1) for name in classes], np.int64) for classes in (learnt, tested)
    )
    return SharedClasses(names, of_learnt, of_tested)


def detections_of(found: ImageDetections, place: Int64[np.ndarray, " classes"]) -> ImageDetections:
    """Those of classes that have a place, which is their label then."""
    kept = np.flatnonzero(place[found.labels] >= 0)
    outlines = None if found.outlines is None else tuple(found.outlines[row] for row in kept.tolist())
    return ImageDetections(found.boxes[kept], found.scores[kept], place[found.labels[kept]], outlines)


def objects_of(objects: Objects, place: Int64[np.ndarray, " classes"]) -> Objects:
    """Those of classes that have a place, which is their label then; an image may be left without any."""
    kept = np.flatnonzero(place[objects.labels] >= 0)
    return replace(
        objects,
        boxes=objects.boxes[kept],
        labels=place[objects.labels[kept]],
        areas=objects.areas[kept],
        crowd=objects.crowd[kept],
        outlines=None if objects.outlines is None else tuple(objects.outlines[row] for row in kept.tolist()),
        absent=_placed(objects.absent, place),
        incomplete=_placed(objects.incomplete, place),
    )


def _placed(labels: tuple[int, ...] | None, place: Int64[np.ndarray, " classes"]) -> tuple[int, ...] | None:
    if labels is None:
        return None
    return tuple(int(place[label]) for label in labels if place[label] >= 0)
