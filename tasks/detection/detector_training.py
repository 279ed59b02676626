"""Trainings of one backbone under a detector on parts of one dataset, with one choice of settings after another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backbones.base import Backbone, Preprocess
from backbones.training.execution import Execution
from backbones.training.outcomes import Fitted
from backbones.training.seeded import seeded
from tasks.datasets.base import Dataset
from tasks.datasets.joined import join
from tasks.datasets.partition import Part, Partition
from tasks.detection.chosen import Chosen
from tasks.detection.detector_trainee import DetectorTrainee
from tasks.detection.evaluation.measured import measured
from tasks.detection.evaluation.metrics import metrics
from tasks.detection.evaluation.tables import ImageDetections, tables
from tasks.detection.jitter import Jitter
from tasks.detection.predicting import detections
from tasks.detection.stream import DetectionStream
from tasks.logged_fit import below, logged_fit

FRESH_CHANCE = 1
"""The place, among the random numbers of a seed, of the weights that pyramid and heads start from."""


@dataclass(frozen=True)
class Trained:
    """A fitted detector and how to look at images with it."""

    fitted: Fitted
    preprocess: Preprocess
    jitter: Jitter
    execution: Execution

    def found(self, part: Part) -> list[ImageDetections]:
        """What it finds in each image of a part, in pixels of the image."""
        model = self.fitted.model
        assert isinstance(model, DetectorTrainee)
        return detections(model, part, self.preprocess, self.jitter, self.execution)


class DetectorTraining:
    """Every training has a folder of its own below the execution's, and goes on from what is in it."""

    def __init__(self, backbone: Backbone, dataset: Dataset, parts: Partition, execution: Execution, seed: int) -> None:
        self.backbone, self.dataset, self.parts = backbone, dataset, parts
        self.execution, self.seed = execution, seed

    def on_val(self, chosen: Chosen, name: str) -> float:
        """The average precision on val, of masks where they are found, after training on train."""
        trained = self._trained(chosen, name, self.parts.train)
        return merit(trained.found(self.parts.val), self.parts.val, self.dataset.classes)

    def on_both(self, chosen: Chosen) -> Trained:
        """The training that is tested: on train and val."""
        return self._trained(chosen, "final", join(self.parts.train, self.parts.val))

    def _trained(self, chosen: Chosen, name: str, part: Part) -> Trained:
        trainee = self._trainee(chosen)
        preprocess = self.backbone.preprocess
        masks, multiple = trainee.detector.masks, trainee.multiple
        stream = DetectionStream(part, preprocess, chosen.jitter, self.seed, masks, multiple)
        execution = below(self.execution, name)
        same = {"manifest": self.dataset.manifest_sha256, "weights": self.backbone.card.weights_sha256}
        settings = {**same, **chosen.facts()}
        fitted = logged_fit(trainee, stream, chosen.recipe, execution, self.seed, None, settings)
        if not trainee.has_drop_path:
            fitted.notes["drop_path"] = "the architecture has no place for it; none was applied"
        return Trained(fitted, preprocess, chosen.jitter, replace(execution, report=None))

    def _trainee(self, chosen: Chosen) -> DetectorTrainee:
        with seeded(self.seed, FRESH_CHANCE):
            return DetectorTrainee(
                self.backbone,
                chosen.detector,
                len(self.dataset.classes),
                chosen.heads,
                chosen.train,
                chosen.drop_path,
                chosen.batch_norm,
                chosen.window,
            )


def merit(found: Sequence[ImageDetections], part: Part, classes: Sequence[str]) -> float:
    """COCO's average precision: of masks where they are found, else of boxes."""
    assert part.objects is not None
    asked = tables(found, part.objects, part.names, classes)
    return metrics(measured(asked, len(classes), "mask" if asked.masks else "box"))["ap"]
