"""What a detection record kept of its images, and which of its detections are right at one overlap, as COCO has it."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads precision off."""
WRONG, RIGHT, NEITHER = 0, 1, -1
"""A detection finds no object (or one that is found already), finds one, or cannot be judged (it lies in a crowd)."""
BOX = ["left", "top", "right", "bottom"]


@dataclass(frozen=True)
class Kept:
    """One split: a row an image, a row a detection and a row an annotated object, tied by ``item``, the image's name.

    Boxes are in pixels of the image, whose ``height`` and ``width`` are among the image's columns.
    """

    images: "pd.DataFrame"
    detections: "pd.DataFrame"
    objects: "pd.DataFrame"


def kept(table: "pd.DataFrame") -> dict[str, Kept]:
    """Of a record's outputs, the splits that have all three, in their order."""
    parts = {str(name): rows.reset_index(drop=True) for name, rows in table.groupby("split", sort=False)}
    found = {}
    for name, images in parts.items():
        detections, objects = (parts.get(f"{name}:{what}") for what in ("detections", "objects"))
        if detections is None and objects is None:
            continue
        # of a split in which nothing was detected, or nothing is there, a table has no rows
        found[name] = Kept(images, *(table.iloc[:0] if part is None else part for part in (detections, objects)))
    return found


def judged(answers: Kept, overlap: float) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """A verdict on each detection (:data:`RIGHT`, ...), and of each object whether it is found.

    Image by image and class by class the surest detection takes the free object it overlaps most, by ``overlap``
    (intersection over union) at the least. What finds none may lie in crowds, any number of them in one; there the
    intersection is divided by the detection's own area.
    """
    verdicts = np.where(unjudged(answers), NEITHER, WRONG).astype(np.int8)
    found = np.zeros(len(answers.objects), np.bool_)
    boxes, there = (each[BOX].to_numpy(np.float64) for each in (answers.detections, answers.objects))
    scores = answers.detections["score"].to_numpy(np.float64)
    crowd = answers.objects["crowd"].to_numpy(bool)
    candidates = answers.objects.groupby(["item", "label"], sort=False).indices
    for key, places in answers.detections.groupby(["item", "label"], sort=False).indices.items():
        if (objects := candidates.get(key)) is None:
            continue
        rows = np.asarray(places)[np.argsort(-scores[places], kind="stable")]
        share = overlaps(boxes[rows], there[objects], crowd[objects])
        told, found[objects] = _greedily(share, crowd[objects], overlap)
        verdicts[rows] = np.where(told == WRONG, verdicts[rows], told)
    return verdicts, found


def unjudged(answers: Kept) -> NDArray[np.bool_]:
    """Which detections are never wrong, of sets whose images were searched for some classes only (LVIS).

    Those of a class that was not looked for in the image, or of which not every object is annotated there.
    """
    if "absent" not in answers.images or "incomplete" not in answers.images:
        return np.zeros(len(answers.detections), np.bool_)
    absent, incomplete = (
        {item: json.loads(text) for item, text in zip(answers.images["item"], answers.images[column], strict=True)}
        for column in ("absent", "incomplete")
    )
    annotated = set(zip(answers.objects["item"], answers.objects["label"], strict=True))

    def untold(item: str, label: int) -> bool:
        searched = absent[item] is None or label in absent[item] or (item, label) in annotated
        return not searched or label in (incomplete[item] or ())

    pairs = zip(answers.detections["item"], answers.detections["label"], strict=True)
    return np.asarray([untold(item, int(label)) for item, label in pairs], np.bool_)


def _greedily(
    share: NDArray[np.float64], crowd: NDArray[np.bool_], overlap: float
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """``share`` (detections, objects), the surest first. Of two objects overlapped alike the later is taken."""
    verdicts, found = np.full(len(share), WRONG, np.int8), np.zeros(len(crowd), np.bool_)
    for row, shares in enumerate(share):
        free = np.where(found | crowd, -1.0, shares)
        best = len(free) - 1 - int(free[::-1].argmax())
        if free[best] >= overlap:
            verdicts[row], found[best] = RIGHT, True
        elif (shares[crowd] >= overlap).any():
            verdicts[row] = NEITHER
    return verdicts, found


def overlaps(boxes: NDArray[np.float64], objects: NDArray[np.float64], crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, k): intersection over union of boxes (n, 4) with objects (k, 4); of crowds, over the box alone."""
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], objects[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas, others = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (boxes, objects))
    return np.asarray(common / np.where(crowd, areas[:, None], areas[:, None] + others - common))


def precision(answers: Kept, verdicts: NDArray[np.int8]) -> NDArray[np.float64]:
    """At each of :data:`RECALLS`, the mean over the classes that have objects: the mean of the curve is AP.

    Each class's precision is the best at that recall or above, and 0 where that recall is never reached.
    """
    counted = answers.objects["label"].to_numpy(np.int64)[~answers.objects["crowd"].to_numpy(bool)]
    labels, scores = (answers.detections[name].to_numpy() for name in ("label", "score"))
    curves = []
    for label, total in zip(*np.unique(counted, return_counts=True), strict=True):
        rows = np.flatnonzero((labels == label) & (verdicts != NEITHER))
        hits = verdicts[rows[np.argsort(-scores[rows], kind="stable")]] == RIGHT
        curves.append(_envelope(hits, int(total)))
    return np.mean(curves, axis=0) if curves else np.full(len(RECALLS), np.nan)


def _envelope(hits: NDArray[np.bool_], total: int) -> NDArray[np.float64]:
    right = np.cumsum(hits)
    best = np.maximum.accumulate((right / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return np.append(best, 0.0)[np.searchsorted(right / total, RECALLS, side="left")]


def surest(answers: Kept, verdicts: NDArray[np.int8]) -> tuple[float, float]:
    """The score from which on detections are best believed, all classes together, and the F1 reached by doing so."""
    rows = np.flatnonzero(verdicts != NEITHER)
    scores = answers.detections["score"].to_numpy(np.float64)[rows]
    order = np.argsort(-scores, kind="stable")
    total = int((~answers.objects["crowd"].to_numpy(bool)).sum())
    if not len(order):
        return 1.0, 0.0
    right = np.cumsum(verdicts[rows[order]] == RIGHT)
    f1 = 2 * right / (np.arange(1, len(order) + 1) + total)
    best = int(f1.argmax())
    return float(scores[order[best]]), float(f1[best])


def mask_of(text: Any, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The mask that COCO's run lengths stand for in an image of ``size`` (height, width); None where there is none."""
    if not isinstance(text, str) or not text:
        return None
    from faster_coco_eval.core import mask  # half a second, and most records have no masks

    return np.asarray(mask.decode({"size": list(size), "counts": text.encode()}), dtype=np.bool_)
