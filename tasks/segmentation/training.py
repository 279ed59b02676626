"""Trainings of a head for every pixel over one backbone on one dataset, with one choice of settings after another."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from backbones.base import Backbone, resolve_device
from backbones.training.execution import Execution
from backbones.training.outcomes import Fitted
from tasks.datasets.base import Dataset
from tasks.datasets.joined import join
from tasks.datasets.partition import Part, Partition
from tasks.logged_fit import below, logged_fit
from tasks.segmentation.chosen import Chosen
from tasks.segmentation.confusion import Counts
from tasks.segmentation.crops_stream import CropsStream
from tasks.segmentation.judging import Judge
from tasks.segmentation.network import Network, Segmenter
from tasks.trunk import Trunk

SHOWN = 64
"""Images, spread over the part, whose features are standardised by their own statistics."""


class SegmentationTraining:
    """Every training has a folder of its own below the execution's, and goes on from what is in it."""

    def __init__(self, backbone: Backbone, dataset: Dataset, parts: Partition, execution: Execution, seed: int) -> None:
        self.backbone, self.dataset, self.parts = backbone, dataset, parts
        self.execution, self.seed, self.classes = execution, seed, len(dataset.classes)

    def on_val(self, chosen: Chosen, name: str) -> float:
        """mIoU on val after training on train; it is logged after every epoch too."""
        fitted = self._fitted(chosen, name, self.parts.train, self.parts.val)
        return float(self.counts(fitted, self.parts.val, chosen).values()[0])

    def on_both(self, chosen: Chosen) -> Fitted:
        """The training that is tested: on train and val."""
        return self._fitted(chosen, "final", join(self.parts.train, self.parts.val), None)

    def counts(self, fitted: Fitted, part: Part, chosen: Chosen) -> Counts:
        """What the fitted network takes the pixels of a part for."""
        return self._judge(part, chosen, self.execution).counts(fitted.model)

    def _judge(self, part: Part, chosen: Chosen, execution: Execution) -> Judge:
        return Judge(part, self.classes, self.backbone.preprocess, chosen.geometry.side, execution)

    def _fitted(self, chosen: Chosen, name: str, part: Part, val: Part | None) -> Fitted:
        stream = CropsStream(part, self.classes, self.backbone.preprocess, chosen.geometry, self.seed)
        network = self._network(chosen)
        network.standardised.settle(self._shown(network, stream))
        execution = below(self.execution, name)
        judge = None if val is None else self._judge(val, chosen, execution)
        same = {"manifest": self.dataset.manifest_sha256, "weights": self.backbone.card.weights_sha256}
        settings = {**same, **chosen.facts()}
        fitted = logged_fit(Segmenter(network), stream, chosen.recipe, execution, self.seed, judge, settings)
        if not network.trunk.has_drop_path:
            fitted.notes["drop_path"] = "the architecture has no place for it; none was applied"
        if all(row["loss"] == 0 for row in fitted.history):
            raise ValueError(f"no pixel of the crops of {part.split} has a class; there is nothing to learn from")
        return fitted

    def _network(self, chosen: Chosen) -> Network:
        """Its head drawn by the seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            trunk = Trunk(self.backbone, chosen.train, chosen.drop_path, chosen.batch_norm)
            return Network(trunk, chosen.head, self.classes, chosen.head_channels)

    def _shown(self, network: Network, stream: CropsStream) -> Iterator[dict[int, Tensor]]:
        """Maps of crops as the first epoch sees them, in evaluation mode, on the training's device."""
        device = resolve_device(self.execution.device)
        trunk = network.trunk.to(device).eval()
        rows = np.unique(np.linspace(0, len(stream) - 1, SHOWN).round().astype(int)).tolist()
        for row in rows:
            images = stream.batch([stream.load(row, 0)], 0, device).images
            with torch.no_grad():
                maps = trunk.maps(images)
            yield maps
        network.trunk.to("cpu")
