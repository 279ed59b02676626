"""Drawn knees of five grades, a tiny network, and batches of noise, for tests of learning from few labels."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbones.base import Backbone, freeze
from backbones.places import Places
from backbones.pretraining.fresh import fresh
from backbones.pretraining.method import Progress
from backbones.training.execution import Execution
from tasks.base import Note, Outputs, Score, Tools
from tasks.classification.semi_supervised.method import Batch, MethodSettings
from tasks.classification.semi_supervised.task import SemiSupervised
from tasks.datasets.base import Dataset, Split
from tasks.datasets.lossless_png import encode_png
from tests.feature_fakes import MemoryImages

GRADES = 5
PROGRESS = Progress(step=8, total=40, steps_an_epoch=8)


def knee(grade: int, draws: np.random.Generator, side: int = 32) -> NDArray[np.uint8]:
    """Two bright condyles over a plateau: the space between shrinks with the grade, and bumps grow at its edges."""
    rows, columns = np.mgrid[:side, :side] / side
    middle, tilt = 0.5 + draws.uniform(-0.06, 0.06), draws.uniform(-0.08, 0.08)
    rows = rows + tilt * (columns - 0.5) + draws.uniform(-0.05, 0.05)
    space = 0.16 - 0.03 * grade + draws.normal(0, 0.008)
    bone = np.zeros((side, side))
    for across in (-0.2, 0.2):
        condyle = ((columns - middle - across) / 0.2) ** 2 + ((rows - 0.25) / 0.2) ** 2 < 1
        bone = np.maximum(bone, 0.8 * condyle)
    bone = np.maximum(bone, 0.7 * ((rows > 0.45 + space) & (np.abs(columns - middle) < 0.42)))
    for edge in (-0.42, 0.42):
        reach = 0.02 + 0.015 * grade * draws.uniform(0.6, 1.4)
        bump = (columns - middle - edge) ** 2 + (rows - 0.47 - space) ** 2 < reach**2
        bone = np.maximum(bone, 0.9 * bump)
    grey = draws.uniform(0.7, 1.1) * bone + 0.1 + draws.normal(0, 0.12, bone.shape)
    return np.repeat((255 * grey.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def knees(train: int = 60, test: int = 40, seed: int = 0, groups: int | None = None) -> Dataset:
    """As many images of each grade; with ``groups``, so many subjects take turns in train."""
    splits = {}
    for name, count, place in (("train", train, 0), ("test", test, 1)):
        draws = np.random.default_rng([seed, place])
        labels = np.arange(count) % GRADES
        images = MemoryImages([encode_png(knee(int(grade), draws)) for grade in labels])
        whose = None if groups is None else tuple(f"subject {name} {row % groups}" for row in range(count))
        splits[name] = Split(images, labels.astype(np.int64), tuple(images.names), groups=whose)
    grades = tuple(f"grade {grade}" for grade in range(GRADES))
    total = train + test
    return Dataset("knees", grades, splits, f"{train} {test} {seed}", "none", "drawn", total, total, target="ordinal")


def tiny_backbone(seed: int = 0) -> Backbone:
    """A small ResNet for 32 pixels, with random weights."""
    return freeze(fresh("timm:resnet10t", {"channels": (8, 16, 16, 32), "stem_width": 8}, 32, seed, Places()))


def tiny_transformer(seed: int = 0, width: int = 32) -> Backbone:
    """A plain vision transformer for 32 pixels, with random weights: nothing in it sees a batch."""
    kwargs = {"patch_size": 8, "img_size": 32, "embed_dim": width, "depth": 2, "num_heads": 2}
    return freeze(fresh("timm:vit_tiny_patch16_224", kwargs, 32, seed, Places()))


def answers_of(
    task: SemiSupervised, data: Dataset, backbone: Backbone, seed: int = 0, folder: Path | None = None, **execution: Any
) -> tuple[dict[str, Score], dict[str, Any], Outputs]:
    """Scores, the values of notes, and the table of a run on one core."""

    def extract(*_: Any) -> Any:
        raise AssertionError("a head that does not start at a probe needs no frozen features")

    tools = Tools(extract, Execution(device="cpu", workers=0, folder=folder, **execution))
    given = list(task.run(backbone, {"dataset": [data]}, tools, seed))
    (table,) = (one for one in given if isinstance(one, Outputs))
    scores = {one.metric: one for one in given if isinstance(one, Score)}
    return scores, {one.name: one.value for one in given if isinstance(one, Note)}, table


class Bent(nn.Module):
    """3 tanh of a product with the mean of each colour: a network to be computed by hand, and not a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.0, -1.0], [0.5, -0.5, 2.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return 3 * torch.tanh(images.mean((2, 3)) @ self.weight.T)


def noise_batch(
    settings: MethodSettings, items: int = 4, seed: int = 0, progress: Progress = PROGRESS, draws: int = 0
) -> Batch:
    """Noise as the method wants it: its views, ``ratio`` images an item in each; two classes in turn."""
    generator, wanted = torch.Generator().manual_seed(seed), settings.wanted()
    labelled = torch.randn(items, 3, 4, 4, generator=generator)
    views = [torch.randn(items * wanted.ratio, 3, 4, 4, generator=generator) for _ in wanted.unlabelled]
    return Batch(labelled, torch.arange(items) % 2, tuple(views), progress, np.random.default_rng(draws))
