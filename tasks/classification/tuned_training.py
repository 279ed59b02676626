"""Trainings of one backbone on parts of one dataset, with one choice of settings after another."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float32

from backbones.base import Backbone, Preprocess
from backbones.training.evaluation import predictions
from backbones.training.execution import Execution
from backbones.training.images_stream import ImagesStream
from backbones.training.outcomes import Fitted
from backbones.training.trainee import Trainee
from tasks.classification.chosen import Chosen
from tasks.classification.head_start import ProbeHead, start_head
from tasks.classification.objectives import Objective, objective_of
from tasks.classification.tuned_network import Answering, TunedNetwork
from tasks.datasets.base import Dataset
from tasks.datasets.joined import join
from tasks.datasets.partition import Part, Partition
from tasks.logged_fit import below, logged_fit


class TunedTraining:
    """Every training has a folder of its own below the execution's, and goes on from what is in it."""

    def __init__(
        self,
        backbone: Backbone,
        dataset: Dataset,
        parts: Partition,
        start: ProbeHead | Literal["zeros", "xavier"],
        execution: Execution,
        seed: int,
    ) -> None:
        self.backbone, self.dataset, self.parts = backbone, dataset, parts
        self.start, self.execution, self.seed = start, execution, seed

    def on_val(self, chosen: Chosen, name: str) -> float:
        """The headline metric on val after training on train; it is logged after every epoch too."""
        objective, fitted = self._fitted(chosen, name, self.parts.train, self.parts.val)
        return objective.merit(self.outputs(fitted, self.parts.val), self.parts.val)

    def on_both(self, chosen: Chosen) -> tuple[Objective, Fitted]:
        """The training that is tested: on train and val."""
        return self._fitted(chosen, "final", join(self.parts.train, self.parts.val), None)

    def outputs(self, fitted: Fitted, part: Part) -> Float32[np.ndarray, "n outputs"]:
        """What the fitted network answers, a row an image of the part."""
        return outputs_of(fitted.model, part, self.backbone.preprocess, self.execution)

    def _fitted(self, chosen: Chosen, name: str, part: Part, val: Part | None) -> tuple[Objective, Fitted]:
        objective = objective_of(self.dataset, part, chosen.label_smoothing)
        trainee = TunedNetwork(self.backbone, objective, chosen.drop_path, chosen.batch_norm)
        start = self.start
        if isinstance(start, ProbeHead):
            start_head(trainee.network.head, start.of_both if val is None else start.of_train, self.seed)
        else:
            start_head(trainee.network.head, start, self.seed)
        execution = below(self.execution, name)
        judge = None if val is None else Judge(objective, val, self.backbone.preprocess, execution)
        same = {"manifest": self.dataset.manifest_sha256, "weights": self.backbone.card.weights_sha256}
        stream = self._stream(objective, part, chosen)
        settings = {**same, **chosen.facts()}
        fitted = logged_fit(trainee, stream, chosen.recipe, execution, self.seed, judge, settings)
        if not trainee.has_drop_path:
            fitted.notes["drop_path"] = "the architecture has no place for it; none was applied"
        return objective, fitted

    def _stream(self, objective: Objective, part: Part, chosen: Chosen) -> ImagesStream:
        targets, preprocess = objective.wanted(part).numpy(), self.backbone.preprocess
        classes = len(self.dataset.classes) if self.dataset.target == "class" else None
        return ImagesStream(part.images, part.rows, targets, preprocess, chosen.augmentation, self.seed, classes)


class Judge:
    """The headline metric on a part, asked after every epoch; sent to other processes where several train."""

    def __init__(self, objective: Objective, part: Part, preprocess: Preprocess, execution: Execution) -> None:
        self.objective, self.part, self.preprocess = objective, part, preprocess
        self.execution = replace(execution, report=None)

    def __call__(self, model: Trainee) -> dict[str, float]:
        outputs = outputs_of(model, self.part, self.preprocess, self.execution)
        return {f"val_{self.objective.headline}": self.objective.merit(outputs, self.part)}


def outputs_of(
    model: Trainee, part: Part, preprocess: Preprocess, execution: Execution
) -> Float32[np.ndarray, "n outputs"]:
    """Outputs of the network in the order of the part."""
    assert isinstance(model, Answering)
    return predictions(model.judged, part.images, part.rows, preprocess, execution)
