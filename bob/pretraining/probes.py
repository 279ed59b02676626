"""Probes of a backbone in training: the tasks' own code on a small labelled dataset, so that its numbers are theirs."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.feature_cache import block_rows
from backbones.feature_run import FeatureRun
from backbones.images import Images
from backbones.inference import Layer
from backbones.training.execution import Precision
from backbones.weights import weights_sha256
from tasks.base import Score, Task, Tools
from tasks.catalogue import open_dataset, task_class
from tasks.datasets.base import Dataset, OpenOptions

PROBES = {"knn": "classification.knn", "linear": "classification.linear"}


class FeaturesNow:
    """Features of a backbone whose weights change: computed as the harness does, kept until they have changed."""

    def __init__(self, workers: int, precision: Precision) -> None:
        self.workers, self.precision = workers, precision
        self._of = ""
        self._kept: dict[str, NDArray[Any]] = {}

    def __call__(self, backbone: Backbone, images: Images, layer: Layer = "pooled") -> NDArray[Any]:
        """A copy is made and frozen: the training's own stays as it is."""
        if (weights := weights_sha256(backbone)) != self._of:
            self._of, self._kept = weights, {}
        key = f"{layer} {images.identity}"
        if key not in self._kept:
            self._kept[key] = self._computed(backbone, images, layer)
        return self._kept[key]

    def _computed(self, backbone: Backbone, images: Images, layer: Layer) -> NDArray[Any]:
        device = next((each.device for each in backbone.parameters()), torch.device("cpu"))
        size = block_rows(len(images))
        blocks = [range(start, min(len(images), start + size)) for start in range(0, len(images), size)]
        frozen = copy.deepcopy(backbone)
        with FeatureRun(frozen, images, layer, device, self.workers, self.precision, None) as run:
            return np.concatenate(list(run.outputs(blocks)))


class Probe:
    """A task's headline on a dataset; sent to other processes where several train."""

    def __init__(self, task: Task, dataset: Dataset, features: FeaturesNow) -> None:
        self.task, self.dataset, self.features = task, dataset, features

    def __call__(self, backbone: Backbone) -> float:
        """Of the backbone as it is now."""
        answers = self.task.run(backbone, {"dataset": [self.dataset]}, Tools(self.features), seed=0)
        scores = {each.metric: each.value for each in answers if isinstance(each, Score)}
        return scores[self.task.headline]


def probes(names: list[str], backbone: Backbone, options: OpenOptions, features: FeaturesNow) -> Mapping[str, Probe]:
    """``knn`` and ``linear`` on each of these datasets; of several, with the dataset's name behind.

    Raises ``ValueError`` or ``OSError`` for a dataset that is not here, or cannot be asked that.
    """
    found = {}
    for name in names:
        dataset = open_dataset(name, options)
        for short, task in PROBES.items():
            asked = task_class(task)()
            if why := asked.refusal(backbone, {"dataset": [dataset]}):
                raise ValueError(f"--probe {name}: {why}")
            found[short if len(names) == 1 else f"{short} {dataset.name}"] = Probe(asked, dataset, features)
    return found
