"""Object detection and instance segmentation: a detector trained on a backbone, by one recipe for every family."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Note, Outputs, Score, Tools
from tasks.datasets.partition import partition
from tasks.detection.detecting import Detecting


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Detection(Detecting):
    """COCO's average precision and recall of boxes, and of masks where the detector draws them, on the test part."""

    name: ClassVar[str] = "detection"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "ap"

    def uses_seed(self, data: Data) -> bool:
        """Always: heads, order and jitter are drawn."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """What cannot be learnt; see :meth:`Detecting.learning_refusal`."""
        return self.learning_refusal(backbone, data["dataset"][0])

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose on val, train, test."""
        from tasks.detection.evaluation.report import evaluate

        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        yield from (Note(f"{name}_part", origin) for name, origin in parts.notes.items())
        yield Note("classes", list(dataset.classes))
        trained, notes = self.trained(backbone, dataset, parts, tools, seed)
        yield from notes
        assert parts.test.objects is not None
        found = trained.found(parts.test)
        yield from evaluate(found, parts.test.objects, parts.test.names, dataset.classes, dataset.frequency)


TASKS = {"detection": Detection}
