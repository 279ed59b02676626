"""An attentive probe: learnt queries attend to the cells of the deepest feature map, a linear head reads the sums."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from backbones.base import Backbone, resolve_device
from backbones.inference import dense_shape
from backbones.training.execution import Execution
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.choosing import Scorer
from tasks.classification.descent import Decay, DescentSettings, Rate
from tasks.classification.parts import learning_refusal, partition_notes
from tasks.classification.streamed import Grid, Known, answers
from tasks.datasets.partition import partition

INITIAL_STD = 0.02


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AttentiveProbe(DescentSettings, Task):
    """top1, top5, mean_per_class, nll, ece of the probe chosen on val by top-1, trained anew on train and val.

    For backbones whose pooled vector is not where their knowledge is (masked image modelling above all). Pooling is
    that of El-Nouby et al. 2024 (AIM): the cells x go through a batch norm without learnt scale and shift; a learnt
    query for each head attends to keys W_k x and sums values W_v x; a linear layer reads the heads side by side. A head
    is ``channels // attention_heads`` wide, at least 1. AdamW; a learning rate is used as it is, whatever the batch.
    The cells are kept on disk: cells x channels x 4 bytes an image, 0.6 MB for ViT-B/16 at 224 pixels.
    """

    name: ClassVar[str] = "classification.attentive"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}

    learning_rates: tuple[Rate, ...] = Field(default=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), min_length=1)
    weight_decays: tuple[Decay, ...] = Field(default=(0.01,), min_length=1)
    warmup_epochs: float = Field(default=1.0, ge=0)
    attention_heads: int = Field(default=12, ge=1)

    def uses_seed(self, data: Data) -> bool:
        """Always: it decides the order of the images and the weights to start from."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset without parts or of a single class, or a batch of more images than it has."""
        dataset = data["dataset"][0]
        return learning_refusal(dataset) or self.too_large(partition(dataset, 0).train, dataset.name)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose, train anew, test once. Raises ``NotImplementedError`` for a backbone without feature maps."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        cells, channels = dense_shape(backbone)
        parts = partition(dataset, seed)
        yield from partition_notes(parts)
        yield Note("cells", {"cells": cells, "channels": channels})
        train = partial(train_probes, self, channels, len(dataset.classes), seed, tools.execution)
        yield from answers(self, train, backbone, parts, tools.extract, "dense")


class AttentivePooling(nn.Module):
    """softmax(q W_k x / sqrt(width)) W_v x a head, over the cells x; the heads' sums side by side."""

    def __init__(self, channels: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.width = max(1, channels // heads)
        self.query = nn.Parameter(torch.empty(heads, 1, self.width))
        self.keys, self.values = (nn.Linear(channels, heads * self.width, bias=False) for _ in range(2))
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=INITIAL_STD, generator=generator)

    def forward(self, cells: Float[Tensor, "b cells channels"]) -> Float[Tensor, "b width"]:
        """One vector an image."""
        keys, values = (made(cells).unflatten(2, (-1, self.width)).transpose(1, 2) for made in (self.keys, self.values))
        return scaled_dot_product_attention(self.query.expand(len(cells), -1, -1, -1), keys, values).flatten(1)


def probe_of(channels: int, heads: int, classes: int, seed: int) -> nn.Sequential:
    """Pooling and a linear head, the same weights for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    pooling = AttentivePooling(channels, heads, generator)
    head = nn.Linear(len(pooling.query) * pooling.width, classes)
    nn.init.trunc_normal_(head.weight, std=INITIAL_STD, generator=generator)
    nn.init.zeros_(head.bias)
    return nn.Sequential(pooling, head)


def train_probes(
    settings: AttentiveProbe, channels: int, classes: int, seed: int, execution: Execution, learnt: Known, grid: Grid
) -> Scorer:
    """One probe a pair of the grid, all on the same batches; each has its own loss."""
    device = resolve_device(execution.device)
    probes = nn.ModuleList(probe_of(channels, settings.attention_heads, classes, seed) for _ in grid).to(device)
    norm = nn.BatchNorm1d(channels, affine=False, eps=1e-6).to(device)
    groups = [
        {"params": list(probe.parameters()), "lr": rate, "weight_decay": decay}
        for probe, (rate, decay) in zip(probes, grid, strict=True)
    ]
    optimiser = torch.optim.AdamW(groups)

    def normed(features: Float32[np.ndarray, "b dim"]) -> Float[Tensor, "b cells channels"]:
        cells = torch.from_numpy(features).to(device).view(len(features), -1, channels)
        return norm(cells.flatten(0, 1)).view_as(cells)  # type: ignore[no-any-return]

    for factor, (features, labels) in learnt.lessons(settings, seed, execution.report):
        for group, (rate, _) in zip(optimiser.param_groups, grid, strict=True):
            group["lr"] = rate * factor
        cells, truth = normed(features), torch.from_numpy(labels).to(device)
        optimiser.zero_grad()
        torch.autograd.backward([cross_entropy(probe(cells), truth) for probe in probes])
        optimiser.step()
    norm.eval()

    @torch.inference_mode()
    def scores(features: Float32[np.ndarray, "b dim"]) -> Float32[np.ndarray, "b heads classes"]:
        cells = normed(features)
        return torch.stack([probe(cells) for probe in probes], dim=1).numpy(force=True)

    return scores


TASKS = {"classification.attentive": AttentiveProbe}
