"""Trainings of one backbone by one method on the same few labels, with one recipe after another."""

import hashlib
from dataclasses import asdict
from typing import Literal

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from backbones.base import Backbone
from backbones.training.execution import Execution
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from tasks.classification.head_start import start_head
from tasks.classification.semi_supervised.few_labels import FewLabels
from tasks.classification.semi_supervised.method import MethodSettings
from tasks.classification.semi_supervised.objective import Judged
from tasks.classification.semi_supervised.stream import SemiStream
from tasks.classification.semi_supervised.trainee import SemiTrainee
from tasks.classification.tuned_network import Network
from tasks.classification.tuned_training import Judge, outputs_of
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part
from tasks.logged_fit import below, logged_fit
from tasks.trunk import BatchNorm, Trunk


class SemiTraining:
    """Every training has a folder of its own below the execution's, and goes on from what is in it."""

    def __init__(
        self,
        backbone: Backbone,
        dataset: Dataset,
        few: FewLabels,
        settings: MethodSettings,
        batch_norm: BatchNorm,
        start: tuple[Tensor, Tensor] | Literal["zeros", "xavier"],
        execution: Execution,
        seed: int,
    ) -> None:
        self.backbone, self.dataset, self.few, self.settings = backbone, dataset, few, settings
        self.batch_norm, self.start, self.execution, self.seed = batch_norm, start, execution, seed
        self.objective = Judged(len(dataset.classes), ordered=dataset.target == "ordinal")

    def on_val(self, recipe: Recipe, val: Part, name: str) -> float:
        """The headline metric on val, which is logged after every epoch too."""
        return self.objective.merit(self.outputs(self.fitted(recipe, name, val), val), val)

    def outputs(self, fitted: Fitted, part: Part) -> Float32[np.ndarray, "n classes"]:
        """Logits of a part's images."""
        return outputs_of(fitted.model, part, self.backbone.preprocess, self.execution)

    def fitted(self, recipe: Recipe, name: str, val: Part | None = None) -> Fitted:
        """Trained from the start, or from where it was left."""
        execution, labelled = below(self.execution, name), self.few.labelled
        network = Network(Trunk(self.backbone, "end-to-end", batch_norm=self.batch_norm), len(self.dataset.classes))
        start_head(network.head, self.start, self.seed)
        judge = None if val is None else Judge(self.objective, val, self.backbone.preprocess, execution)
        stream = SemiStream(
            labelled.images,
            labelled.rows,
            labelled.labels,
            self.few.pool,
            self.backbone.preprocess,
            self.settings.wanted(),
            recipe,
            self.seed,
        )
        trainee = SemiTrainee(network, self.settings)
        return logged_fit(trainee, stream, recipe, execution, self.seed, judge, self._facts())

    def _facts(self) -> dict[str, object]:
        """What a checkpoint must agree on besides the recipe, by name."""
        return {
            "manifest": self.dataset.manifest_sha256,
            "weights": self.backbone.card.weights_sha256,
            "method": type(self.settings).__name__,
            "batch_norm": self.batch_norm,
            "pool": hashlib.sha256(self.few.pool.tobytes()).hexdigest()[:16],
            **{f"method.{name}": value for name, value in asdict(self.settings).items()},
        }
