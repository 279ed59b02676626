"""Methods learn on real images: a small network's neighbours against those of its own random start. Minutes long.

2,000 images of CIFAR-10, average-pooled to 16 pixels, 15 epochs: far from what a method can do, and enough to tell a
wrong sign. Thresholds are about half of the gaps that were measured; they stand beside each gate.
"""

import copy
import io
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbones.base import Backbone
from backbones.places import Places
from backbones.pretraining.catalogue import build_method
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.health.health import Health
from backbones.pretraining.method import MethodSettings
from backbones.pretraining.methods.barlow_twins import BarlowTwins
from backbones.pretraining.methods.dcl import DCL
from backbones.pretraining.methods.dclw import DCLW
from backbones.pretraining.methods.simclr import SimCLR
from backbones.pretraining.methods.simsiam import SimSiam
from backbones.pretraining.methods.vicreg import VICReg
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ViewGroup
from backbones.pretraining.views.stream import ViewStream
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.recipe import Recipe
from bob.pretraining.probes import FeaturesNow, Probe
from tasks.catalogue import open_dataset
from tasks.classification.knn import NearestNeighbours
from tasks.classification.linear import LinearProbe
from tasks.datasets.base import Dataset, OpenOptions

pytestmark = pytest.mark.slow

SIZE, TRAIN, TEST = 16, 200, 100
"""Pixels a side, images a class."""
VIEWS = (
    ViewGroup(
        count=2, crop_scale=(0.2, 1.0), jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey=0.2
    ),
)
PROJECTOR = (256, 128)
RECIPE = Recipe(
    epochs=15,
    global_batch=64,
    learning_rate=2e-3,
    warmup_epochs=1.5,
    warmup_learning_rate=0.0,
    minimum_learning_rate=0.0,
)
NETWORK = {"channels": (16, 32, 64, 128), "layers": (1, 1, 1, 1)}
"""0.45 million parameters."""


@dataclass(frozen=True)
class Gate:
    """Points of kNN top-1 above the random start that a method must gain."""

    settings: MethodSettings
    points: float


GATES = {
    "simclr": Gate(SimCLR(views=VIEWS, projector=PROJECTOR, temperature=0.2), 5),
    "dcl": Gate(DCL(views=VIEWS, projector=PROJECTOR, temperature=0.2), 5),
    "dclw": Gate(DCLW(views=VIEWS, projector=PROJECTOR, temperature=0.2), 5),
    "vicreg": Gate(VICReg(views=VIEWS, projector=PROJECTOR), 5),
    "simsiam": Gate(SimSiam(views=VIEWS, projector=PROJECTOR, predictor=64), 2),
    "barlow_twins": Gate(BarlowTwins(views=VIEWS, projector=PROJECTOR), 2),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The first images of each class, pooled, as PNG in class folders."""
    if not (folder := os.environ.get("BOB_DATA")):
        pytest.skip("needs BOB_DATA: cifar10_subset.zip")
    root = tmp_path_factory.mktemp("cifar")
    with zipfile.ZipFile(Path(folder) / "cifar10_subset.zip") as archive:
        for part, count in (("train", TRAIN), ("test", TEST)):
            for name in chosen(archive.namelist(), part, count):
                place = (root / name).with_suffix(".png")
                place.parent.mkdir(parents=True, exist_ok=True)
                pooled(archive.read(name)).save(place)
    return open_dataset(f"images:{root}", OpenOptions(Places(), cache=root / "cache"))


def chosen(names: list[str], part: str, count: int) -> Iterator[str]:
    by_class: dict[str, list[str]] = {}
    for name in sorted(name for name in names if name.startswith(f"{part}/") and name.endswith(".jpg")):
        by_class.setdefault(name.split("/")[1], []).append(name)
    for names_of_class in by_class.values():
        yield from names_of_class[:count]


def pooled(data: bytes) -> Image.Image:
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)
    blocks = pixels.reshape(SIZE, 32 // SIZE, SIZE, 32 // SIZE, 3).mean((1, 3))
    return Image.fromarray(blocks.round().astype(np.uint8))


def scores(backbone: Backbone, dataset: Dataset) -> tuple[float, float]:
    """kNN and linear top-1, in per cent, by the tasks themselves."""
    features = FeaturesNow(workers=1, precision="float32")
    probes = [Probe(task, dataset, features) for task in (NearestNeighbours(k=20, temperature=0.1), LinearProbe())]
    knn, linear = [100 * probe(backbone) for probe in probes]
    return knn, linear


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", GATES)
def test_neighbours_are_better_than_those_of_the_random_start(name: str, seed: int, images: Dataset) -> None:
    gate, split = GATES[name], images.splits["train"]
    backbone = fresh("small_stem:resnet18", NETWORK, SIZE, seed, Places())
    before = scores(copy.deepcopy(backbone), images)
    torch.manual_seed(seed)
    trainee = Pretrainee(build_method(gate.settings, encoder_over(backbone), len(split)))
    stream = ViewStream(split.images, range(len(split)), backbone.preprocess, gate.settings.views, seed, RECIPE)
    health = Health(trainee, stream, {}, "stop")
    begun = time.perf_counter()
    fitted = fit(trainee, stream, RECIPE, Execution(device="cpu", workers=0), seed, evaluate=health)
    seconds = time.perf_counter() - begun
    after = scores(trainee.method.published(), images)
    print(
        f"\n| {name} | {seed} | {before[0]:.1f}/{before[1]:.1f} | {after[0]:.1f}/{after[1]:.1f} | "
        f"{fitted.epochs[-1]['rank_me']:.0f} | {seconds:.0f} |"
    )
    assert after[0] >= before[0] + gate.points
