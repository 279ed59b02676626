"""The classes that two sets have in common by name, and objects and detections of those alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from tasks.datasets.objects import Objects
from tasks.detection.evaluation.tables import ImageDetections

Places = Int64[np.ndarray, " classes"]
"""Of each class of a dataset its place among the shared ones, or -1."""


def shared_classes(learnt: Sequence[str], tested: Sequence[str]) -> tuple[str, ...]:
    """In the order of what is learnt.

    >>> shared_classes(("person", "car", "bus"), ("bus", "rider", "person"))
    ('person', 'bus')
    """
    return tuple(name for name in learnt if name in set(tested))


def places(shared: Sequence[str], classes: Sequence[str]) -> Places:
    """
    >>> places(("person", "bus"), ("bus", "rider", "person")).tolist()
    [1, -1, 0]
    """
    of = {name: place for place, name in enumerate(shared)}
    return np.asarray([of.get(name, -1) for name in classes], np.int64)


def detections_of(found: ImageDetections, place: Places) -> ImageDetections:
    """Those of classes that have a place, which is their label then."""
    kept = np.flatnonzero(place[found.labels] >= 0)
    outlines = None if found.outlines is None else tuple(found.outlines[row] for row in kept.tolist())
    return ImageDetections(found.boxes[kept], found.scores[kept], place[found.labels[kept]], outlines)


def objects_of(objects: Objects, place: Places) -> Objects:
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


def _placed(labels: tuple[int, ...] | None, place: Places) -> tuple[int, ...] | None:
    return None if labels is None else tuple(int(place[label]) for label in labels if place[label] >= 0)
