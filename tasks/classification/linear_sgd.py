"""A linear probe trained by SGD or LARS on features streamed from disk, for sets too large to be solved in memory."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.base import Backbone, resolve_device
from backbones.training.execution import Execution
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.choosing import Scorer
from tasks.classification.descent import Decay, DescentSettings, Rate
from tasks.classification.heads import Heads, at_once
from tasks.classification.parts import learning_refusal, partition_notes
from tasks.classification.probe import Scaling, z_scores
from tasks.classification.streamed import Grid, Known, answers, best_on_val, known
from tasks.datasets.partition import partition
from tasks.moments import moments
from tasks.presets import Presets
from tasks.readouts import ChosenReading
from tasks.rows import Rows

REFERENCE_BATCH = 256
"""Learning rates are those of a batch of this size, and are scaled with the batch (Goyal et al. 2017)."""
INITIAL_STD = 0.01

BOB_2023: Mapping[str, Any] = {
    "optimiser": "lars",
    "learning_rates": (0.1,),
    "weight_decays": (0.0,),
    "momentum": 0.9,
    "batch": 2048,
    "epochs": 90,
    "warmup_epochs": 10.0,
    "scaling": "batch_norm",
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StreamedProbe(ChosenReading, Presets, DescentSettings, Task):
    """top1, top5, mean_per_class, nll, ece of the head chosen on val by top-1, trained anew on train and val.

    Features stay on disk and are read a batch at a time, so they may be larger than any memory. A learning rate is that
    of a batch of 256, so it is used times ``batch`` / 256. ``scaling``: ``z_score`` by the statistics of the images
    learnt from; ``batch_norm`` by each batch's and afterwards their running mean (no learnt scale or shift, eps 1e-6,
    as in the MAE probe); or ``none``. Every head starts at the same seeded weights, truncated normal of std 0.01, and
    zero biases, which no weight decay or trust ratio acts on. Where the grid has one pair there is nothing to choose.

    ``preset: bob2023`` is the linear probe of Goldblum et al. 2023, MAE's: LARS, learning rate 0.1, batch 2048, 90
    epochs of which 10 warm up. It differs where features are frozen: one centre crop an image instead of random crops
    and flips; each backbone's own mean and std instead of ImageNet's for all; the batch norm for all families instead
    of some; biases that start at zero; float32 instead of autocast; the last epoch instead of the best on the test set.
    """

    name: ClassVar[str] = "classification.linear_sgd"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"bob2023": BOB_2023}

    optimiser: Literal["sgd", "lars"] = "sgd"
    learning_rates: tuple[Rate, ...] = Field(default=(1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0), min_length=1)
    weight_decays: tuple[Decay, ...] = Field(default=(0.0, 1e-4, 1e-3, 1e-2), min_length=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    scaling: Literal["z_score", "batch_norm", "none"] = "z_score"

    def uses_seed(self, data: Data) -> bool:
        """Always: it decides the order of the images and the weights to start from."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset without parts or of a single class, a batch of more than it has, or a readout that is not there."""
        dataset = data["dataset"][0]
        if why := self.unreadable(backbone) or learning_refusal(dataset):
            return why
        return self.too_large(partition(dataset, 0).train, dataset.name)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose, train anew, test once."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        parts, classes = partition(data["dataset"][0], seed), len(data["dataset"][0].classes)
        yield from partition_notes(parts)
        train = partial(train_heads, self, classes, seed, tools.execution)

        def on_val(extract: Extract) -> float:
            learnt, val = (known(backbone, part, extract, "pooled") for part in (parts.train, parts.val))
            return best_on_val(self, train, learnt, val).highest

        extract, notes = self.chosen(backbone, tools.extract, on_val)
        yield from notes
        yield from answers(self, train, backbone, parts, extract, "pooled")


def train_heads(
    settings: StreamedProbe, classes: int, seed: int, execution: Execution, learnt: Known, grid: Grid
) -> Scorer:
    """Linear heads, one a pair of the grid, and the scaling of the features they learnt under."""
    device = resolve_device(execution.device)
    scale = scaling(settings.scaling, learnt.rows).to(device)
    start = torch.empty(classes, learnt.rows.dim)
    nn.init.trunc_normal_(start, std=INITIAL_STD, generator=torch.Generator().manual_seed(seed))
    start, together = start.to(device), at_once(classes, learnt.rows.dim, device)
    groups = [_heads(settings, start, grid[first : first + together]) for first in range(0, len(grid), together)]
    for factor, (features, labels) in learnt.lessons(settings, seed, execution.report):
        scaled, truth = scale(torch.from_numpy(features).to(device)), torch.from_numpy(labels).to(device)
        for heads in groups:
            heads.step(scaled, truth, factor)
    scale.eval()

    def scores(features: Float32[np.ndarray, "b dim"]) -> Float32[np.ndarray, "b heads classes"]:
        scaled = scale(torch.from_numpy(features).to(device))
        return torch.cat([heads.logits(scaled) for heads in groups], dim=1).numpy(force=True)

    return scores


def _heads(settings: StreamedProbe, start: Tensor, grid: Grid) -> Heads:
    rates = [rate * settings.batch / REFERENCE_BATCH for rate, _ in grid]
    return Heads(start, rates, [decay for _, decay in grid], settings.optimiser, settings.momentum)


def scaling(kind: Literal["z_score", "batch_norm", "none"], rows: Rows) -> nn.Module:
    """What features go through before the heads. Only z-scores look at the rows, once."""
    if kind == "batch_norm":
        return nn.BatchNorm1d(rows.dim, affine=False, eps=1e-6)
    return ZScores(z_scores(moments(rows.blocks()))) if kind == "z_score" else nn.Identity()


class ZScores(nn.Module):
    """Features less their mean, times a factor."""

    def __init__(self, found: Scaling) -> None:
        super().__init__()
        self.mean: Tensor
        self.factor: Tensor
        self.register_buffer("mean", torch.from_numpy(found.mean))
        self.register_buffer("factor", torch.from_numpy(found.factor))

    def forward(self, features: Float[Tensor, "b dim"]) -> Float[Tensor, "b dim"]:
        """The z-scores."""
        return (features - self.mean) * self.factor


TASKS = {"classification.linear_sgd": StreamedProbe}
