"""What is annotated in one image of a detection set: boxes, classes, and outlines where there are any."""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64

from tasks.datasets.outlines import Outline, RunLengths


@dataclass(frozen=True)
class Objects:
    """The objects of one image, row by row in the source's order; an image may have none, and is then a negative.

    ``size`` is the decoded image's (height, width). ``boxes`` are left, top, right, bottom in pixels, in the image and
    of positive width and height. ``labels`` index the dataset's classes. ``areas``, in pixels, say which objects are
    small (below 32 x 32), medium or large (from 96 x 96): of the outline where the source states it, else of the box.
    ``crowd`` marks regions that are no single object (COCO's crowds, VOC's difficult ones): they are never learnt from,
    and who finds something in them is neither right nor wrong. ``outlines`` are there for all objects or none.

    ``absent`` and ``incomplete`` are for sets whose images were only searched for some classes (LVIS): classes known
    not to be in the image, and classes of which not every object is annotated. None where all classes were searched.
    """

    size: tuple[int, int]
    boxes: Float32[np.ndarray, "n 4"] = field(repr=False)
    labels: Int64[np.ndarray, " n"]
    areas: Float32[np.ndarray, " n"] = field(repr=False)
    crowd: Bool[np.ndarray, " n"] = field(repr=False)
    outlines: tuple[Outline, ...] | None = field(default=None, repr=False)
    absent: tuple[int, ...] | None = field(default=None, repr=False)
    incomplete: tuple[int, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Columns of other lengths would pair a box with its neighbour's class."""
        columns = {"boxes": self.boxes, "labels": self.labels, "areas": self.areas, "crowd": self.crowd}
        lengths = {name: len(column) for name, column in columns.items()}
        if self.outlines is not None:
            lengths["outlines"] = len(self.outlines)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"objects of one image have columns of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sha256(self) -> str:
        """Of everything annotated: part of the identity of a dataset."""
        digest = hashlib.sha256(json.dumps([self.size, self.absent, self.incomplete]).encode())
        for column in (self.boxes, self.labels, self.areas, self.crowd):
            digest.update(np.ascontiguousarray(column).tobytes())
        for outline in self.outlines or ():
            parts = [outline.counts] if isinstance(outline, RunLengths) else [part.tobytes() for part in outline]
            for part in parts:
                digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()


def no_objects(size: tuple[int, int], outlined: bool = False) -> Objects:
    """Of an image in which nothing is annotated.

    >>> len(no_objects((480, 640)))
    0
    """
    nothing = np.zeros(0, np.float32)
    return Objects(
        size, nothing.reshape(0, 4), nothing.astype(np.int64), nothing, nothing.astype(bool), () if outlined else None
    )
