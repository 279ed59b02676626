"""What a detector found in some images, evaluated for classes and images of a choice."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.base import Note, Outputs, Score
from tasks.datasets.base import Dataset
from tasks.datasets.objects import Objects
from tasks.datasets.partition import Part
from tasks.detection.detector_training import Trained
from tasks.detection.evaluation.intervals import intervals
from tasks.detection.evaluation.measured import measured
from tasks.detection.evaluation.metrics import metrics
from tasks.detection.evaluation.report import evaluate
from tasks.detection.evaluation.tables import ImageDetections, tables
from tasks.detection.limits import Limited
from tasks.detection.shared_classes import detections_of, objects_of, places

Answering = Generator[Score | Outputs | Note, None, Limited]
"""Yields answers, and returns the number they come to."""


@dataclass(frozen=True)
class Seen:
    """Images with their objects, whose labels index ``classes``, and what was found in each, in classes ``learnt``.

    ``contents`` are the images' hashes: by them the same images are known under a corruption.
    """

    part: Part
    contents: tuple[str, ...]
    classes: tuple[str, ...]
    learnt: tuple[str, ...]
    found: Sequence[ImageDetections]

    def only(self, contents: Sequence[str]) -> "Seen | None":
        """These images, in this order; None where not all are here."""
        rows = {content: row for row, content in enumerate(self.contents)}
        if not set(contents) <= set(rows):
            return None
        at = [rows[content] for content in contents]
        return replace(
            self,
            part=self.part.only(np.asarray(at, dtype=np.int64)),
            contents=tuple(contents),
            found=[self.found[row] for row in at],
        )

    def evaluated(self, shared: Sequence[str], split: str) -> Answering:
        """All that ``detection`` says of these classes; it comes to their ``ap``."""
        ap = None
        found, truths = self._of(shared)
        for answer in evaluate(found, truths, self.part.names, shared, split=split):
            if isinstance(answer, Score) and answer.metric == "ap":
                ap = Limited(answer.value, answer.interval)
            yield answer
        assert ap is not None, "evaluation refuses images without objects"
        return ap

    def ap(self, shared: Sequence[str]) -> Limited:
        """The same number, without the rest."""
        asked = measured(tables(*self._of(shared), self.part.names, shared), len(shared))
        return Limited(metrics(asked)["ap"], intervals(asked)["ap"])

    def _of(self, shared: Sequence[str]) -> tuple[list[ImageDetections], list[Objects]]:
        """What was found of these classes in each image, and what is there."""
        asked, learnt = places(shared, self.classes), places(shared, self.learnt)
        found = [detections_of(each, learnt) for each in self.found]
        return found, [objects_of(each, asked) for each in self.part.objects or ()]


def look(trained: Trained, part: Part, dataset: Dataset, learnt: Dataset) -> Seen:
    """What the detector finds in a part of a dataset."""
    return Seen(part, contents_of(part, dataset), dataset.classes, learnt.classes, trained.found(part))


def contents_of(part: Part, dataset: Dataset) -> tuple[str, ...]:
    """The hashes of a part's images."""
    return tuple(dataset.splits[part.split].sha256[row] for row in part.rows.tolist())
