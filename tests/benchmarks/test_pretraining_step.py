"""A step of pretraining, views included, against lightly's parts and solo-learn's transforms in a plain loop."""

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.base import Backbone
from backbones.places import Places
from backbones.pretraining.catalogue import build_method
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.method import MethodSettings
from backbones.pretraining.methods.byol import BYOL
from backbones.pretraining.methods.dino import DINO
from backbones.pretraining.methods.mae import MAE
from backbones.pretraining.methods.simclr import SimCLR
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ASYMMETRIC_SMALL, CROP_AND_FLIP, ViewGroup, colour
from backbones.pretraining.views.stream import ViewStream
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.recipe import Recipe

pytest.importorskip("lightly", reason="the rival")
from tests.benchmarks.pretraining_rivals import RIVALS, Pictures, lightly_transform, pil_transform, plain_loop
from tests.feature_fakes import MemoryImages, png

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_cores_and_no_shape_checks")]
SIDE, BATCH = 32, 64
STEPS, ROUNDS = 3, 2
"""The first step of a round is not counted."""
WORKERS = 0
"""Of the others' loaders: on two cores that are busy with the step, processes make it longer, not shorter."""
RESNET: tuple[str, dict[str, Any]] = ("small_stem:resnet18", {})
VIT: tuple[str, dict[str, Any]] = ("timm:vit_tiny_patch16_224", {"patch_size": 4, "img_size": SIDE})
METHODS: dict[str, tuple[MethodSettings, tuple[str, dict[str, Any]]]] = {
    "simclr": (SimCLR(views=(ViewGroup(count=2, **colour()),), temperature=0.2, projector=(2048, 256)), RESNET),
    "byol": (BYOL(views=ASYMMETRIC_SMALL, momentum=0.99), RESNET),
    "dino": (DINO(views=ASYMMETRIC_SMALL, outputs=4096, frozen_epochs=0), VIT),
    "mae": (MAE(views=CROP_AND_FLIP, decoder_width=192, decoder_depth=2, decoder_heads=3), VIT),
}
RECIPE = Recipe(
    epochs=STEPS, global_batch=BATCH, optimiser="sgd", learning_rate=0.06, weight_decay=1e-4, warmup_epochs=0
)
Times = list[float]


def images() -> MemoryImages:
    return MemoryImages([png(index, SIDE) for index in range(BATCH)])


def backbone_of(name: str) -> Backbone:
    architecture, kwargs = METHODS[name][1]
    return fresh(architecture, kwargs, SIDE, 0, Places())


def ours(name: str) -> Times:
    """Seconds of each step but the first."""
    trainee, stream, done = *prepared(name), [time.perf_counter()]
    execution = Execution(device="cpu", workers=0, report=lambda *_: done.append(time.perf_counter()))
    fit(trainee, stream, RECIPE, execution, 0)
    return np.diff(done)[1:].tolist()


def prepared(name: str) -> tuple[Pretrainee, ViewStream]:
    backbone = backbone_of(name)
    trainee = Pretrainee(build_method(METHODS[name][0], encoder_over(backbone), BATCH))
    return trainee, ViewStream(images(), range(BATCH), backbone.preprocess, METHODS[name][0].views, 0, RECIPE)


def rival(name: str, transform: Callable[..., Any], workers: int) -> Times:
    return [sum(parts.values()) for parts in _rival_steps(name, transform, workers)][1:]


def _rival_steps(name: str, transform: Callable[..., Any], workers: int) -> Iterator[dict[str, float]]:
    backbone = backbone_of(name)
    arrays = np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    dim = encoder_over(backbone).dim
    return plain_loop(RIVALS[name](backbone, dim), Pictures(arrays, transform), BATCH, STEPS, workers)


def contenders(name: str) -> dict[str, Callable[[], Times]]:
    groups = METHODS[name][0].views
    return {
        "ours": lambda: ours(name),
        "lightly": lambda: rival(name, lightly_transform(name, SIDE), WORKERS),
        "solo-learn's": lambda: rival(name, pil_transform(groups, SIDE), WORKERS),
    }


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_views_against_others(name: str) -> None:
    """Never slower. Contenders take turns, and the median of the rounds' ratios is compared: the machine drifts."""
    taking = contenders(name)
    rounds = [{each: statistics.median(run()) for each, run in taking.items()} for _ in range(ROUNDS)]
    ratios = {each: statistics.median(times[each] / times["ours"] for times in rounds) for each in taking}
    for each in taking:
        fastest = min(times[each] for times in rounds)
        print(f"\n{name}, {each}: {1e3 * fastest:.0f} ms a step, {ratios[each]:.3f} of ours", end="")
    assert min(ratios.values()) > 0.97


@pytest.mark.parametrize("name", METHODS)
def test_where_the_time_goes(name: str) -> None:
    """Printed, of one step of each; what is asserted is that views cost little of a step."""
    mine = _our_parts(name)
    print(f"\n{name}: {_said(mine)}")
    transforms = {"lightly": lightly_transform(name, SIDE), "solo-learn's": pil_transform(METHODS[name][0].views, SIDE)}
    for contender, transform in transforms.items():
        *_, last = _rival_steps(name, transform, WORKERS)
        print(f"{contender}: {_said(last)}")
    assert mine["data"] + mine["views"] < 0.1 * sum(mine.values())


def _said(parts: dict[str, float]) -> str:
    return ", ".join(f"{part} {1e3 * seconds:.1f} ms" for part, seconds in parts.items())


def _our_parts(name: str) -> dict[str, float]:
    """Of the last of a few steps in the loop's order."""
    trainee, stream = prepared(name)
    trainee.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    method, cpu = trainee.method, torch.device("cpu")
    trained = [parameter for parameter in trainee.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.06, momentum=0.9, weight_decay=1e-4)
    for step in range(STEPS):
        clock = [time.perf_counter()]
        items = [stream.load(row, step) for row in range(BATCH)]
        clock.append(time.perf_counter())
        batch = stream.batch(items, step, cpu)
        clock.append(time.perf_counter())
        outputs = method.represent(batch)
        clock.append(time.perf_counter())
        loss = method.loss(outputs, batch.progress)
        clock.append(time.perf_counter())
        loss.backward()
        clock.append(time.perf_counter())
        optimiser.step()
        optimiser.zero_grad()
        method.after_update(batch.progress)
        clock.append(time.perf_counter())
    names = ("data", "views", "forward", "loss", "backward", "update")
    return dict(zip(names, np.diff(clock).tolist(), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_peak_memory_is_not_above_others(name: str) -> None:
    """Resident memory of this process, within 5 %. Libraries are loaded by a first run that is not counted."""
    ours(name)
    peaks = {contender: _peak_mb(run) for contender, run in contenders(name).items()}
    print(f"\n{name}: " + ", ".join(f"{contender} {peak:.0f} MB" for contender, peak in peaks.items()))
    assert peaks["ours"] < 1.05 * min(peaks.values())


def _peak_mb(run: Callable[[], Times]) -> float:
    """The most that is resident while it runs, above what was before."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status_mb("VmRSS")
    run()
    return _status_mb("VmHWM") - before


def _status_mb(field: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024
