"""``bob pretrain``: a method, images and a backbone put together, trained in a folder of their own, and published."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from backbones.base import resolve_device
from backbones.pretraining.beginning import Beginning, begun_from, drawn
from backbones.pretraining.catalogue import build_method
from backbones.pretraining.checks import check_comparisons, check_images, check_views_fit
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.health.health import Health, onsets
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.publishing import Lineage, Publisher, digest
from backbones.pretraining.runs import FINISHED, RUNS
from backbones.pretraining.views.stream import ViewStream
from backbones.training.chance import seed_of
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.order import steps_an_epoch
from backbones.training.outcomes import OutOfMemory
from backbones.training.workers import WorkerLost
from bob.options import PretrainOptions
from bob.pretraining.asked import Asked, asked_for
from bob.pretraining.folder import alone, begin, newest, plain, write
from bob.pretraining.live import Live
from bob.pretraining.material import Material, material
from bob.pretraining.page import dotted
from bob.pretraining.probes import FeaturesNow, Probe, probes
from bob.progress import Progress
from bob.provenance import provenance
from tasks.datasets.base import OpenOptions

STOPPED = (ValueError, OSError, SafetensorError, ArithmeticError, OutOfMemory, WorkerLost)
"""What ends a training that is no mistake of this program's: images, disks, divergence, memory, a worker killed."""
HEADS = -1
"""The place of what a method adds to its backbone among the random numbers of a seed; steps have the others."""


@dataclass(frozen=True)
class Pretraining:
    """All that a training needs, found to be in order before any of it begins."""

    folder: Path
    asked: Asked
    images: Material
    beginning: Beginning
    trainee: Pretrainee
    stream: ViewStream
    probes: Mapping[str, Probe]
    seed: int
    settings: Mapping[str, Any]

    @property
    def run(self) -> str:
        """Its name."""
        return self.folder.name


def prepare(method: str, options: PretrainOptions, opening: OpenOptions, execution: Execution) -> Pretraining:
    """Raises ``ValueError`` (:class:`PlanError` with a line a mistake) or ``OSError`` before anything is trained."""
    asked = asked_for(method, options)
    images = material(options.data, opening)
    beginning = _beginning(asked, options, opening)
    backbone = beginning.backbone
    check_images(asked.recipe.global_batch, len(images.images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(options.seed, HEADS, 0))
        built = build_method(asked.settings, encoder_over(backbone), len(images.images), opening.places)
    check_comparisons(method, built, asked.recipe.global_batch)
    check_views_fit(built, asked.settings.views)
    stream = ViewStream(
        images.images, range(len(images.images)), backbone.preprocess, asked.settings.views, options.seed, asked.recipe
    )
    found = probes(options.probe, backbone, opening, FeaturesNow(execution.workers, execution.precision))
    name = options.name or _name(asked, backbone.card.architecture, images, options.seed)
    settings = {
        "method": {"name": method, **asdict(asked.settings), **built.facts()},
        "recipe": asdict(asked.recipe),
        "seed": options.seed,
        "precision": execution.precision,
        **_weights(beginning),
        "data": images.facts,
        "probes": {name: probe.dataset.manifest_sha256 for name, probe in found.items()},
    }
    return Pretraining(
        RUNS / name, asked, images, beginning, Pretrainee(built), stream, found, options.seed, plain(settings)
    )


def _beginning(asked: Asked, options: PretrainOptions, opening: OpenOptions) -> Beginning:
    if options.init:
        return begun_from(options.init, asked.size, opening.places)
    assert asked.size is not None
    return drawn(asked.architecture, asked.kwargs, asked.size, options.seed, opening.places)


def _name(asked: Asked, architecture: str, images: Material, seed: int) -> str:
    """The same for the same command, so that it goes on; other settings under it are refused."""
    words = [asked.method, architecture, Path(images.dataset.name.partition(":")[2] or images.dataset.name).stem]
    plain = [re.sub(r"[^A-Za-z0-9_]+", "_", word).strip("_") for word in words]
    return "-".join([*filter(None, plain), *([f"seed{seed}"] if seed else [])])


def _weights(beginning: Beginning) -> dict[str, Any]:
    """What a training begins with, as ``run.yaml`` says it."""
    parent = beginning.parent
    return {
        "architecture": {**asdict(beginning.architecture), "size": list(beginning.backbone.preprocess.size)},
        "init": None if parent is None else {"name": parent.name, "weights_sha256": parent.weights_sha256},
    }


def train(prepared: Pretraining, options: PretrainOptions, execution: Execution, progress: Progress) -> str:
    """Train, or go on, to the end; the name of what is published then.

    Raises :class:`PlanError` where the folder is of another training, naming the settings that differ, or somebody
    trains in it now; and what the loop raises.
    """
    folder = prepared.folder
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, execution):
        begin(folder, prepared.settings, _facts(prepared))
        for line in prepared.images.dataset.warnings:
            progress.say(f"{prepared.images.dataset.name}: {line}")
        if (folder / FINISHED).exists():
            progress.say(f"run {prepared.run} is finished: nothing to do")
            return newest(folder)
        with Live(folder, prepared.settings, prepared.asked.recipe.epochs, prepared.probes, progress) as live:
            fitted = fit(
                prepared.trainee,
                prepared.stream,
                prepared.asked.recipe,
                replace(execution, folder=folder, report=live.report),
                prepared.seed,
                evaluate=_health(prepared, options, execution),
                log=live,
                settings=dotted({**prepared.settings, "recipe": {}}),
                publish=_publisher(prepared, options),
            )
        notes = {**fitted.notes, **({"collapsed": began} if (began := onsets(fitted.epochs)) else {})}
        facts = {"steps": fitted.steps, "images_per_second": fitted.images_per_second, "notes": notes}
        write(folder / FINISHED, facts)
    return newest(folder)


def _facts(prepared: Pretraining) -> dict[str, Any]:
    """What ``run.yaml`` says beside the settings; it may differ when the training is gone on with."""
    dataset = prepared.images.dataset
    return {
        "run": prepared.run,
        "preset": prepared.asked.preset or None,
        "images": {"used": dataset.n_used, "found": dataset.n_total},
        "warnings": list(dataset.warnings),
        "made_by": provenance().model_dump(),
    }


def _health(prepared: Pretraining, options: PretrainOptions, execution: Execution) -> Health:
    """Compared with the method as it begins, on the device that trains where that is one."""
    if execution.devices == 1:
        prepared.trainee.to(resolve_device(execution.device))
    return Health(prepared.trainee, prepared.stream, prepared.probes, options.alarm.value)


def _publisher(prepared: Pretraining, options: PretrainOptions) -> Publisher:
    asked, parent, dataset = prepared.asked, prepared.beginning.parent, prepared.images.dataset
    before = f"{parent.pretraining_method}, then " if parent else ""
    seen = f"{parent.pretraining_data}, " if parent else ""
    licences = [f"data: {dataset.licence}", *([f"{parent.name}: {parent.licence}"] if parent else [])]
    return Publisher(
        folder=prepared.folder,
        architecture=prepared.beginning.architecture,
        lineage=Lineage(
            run=prepared.run,
            method=asked.method,
            recipe_sha256=digest(
                {name: value for name, value in prepared.settings.items() if name not in ("data", "probes")}
            ),
            data=dataset.manifest_sha256,
            parent=f"{parent.name} {parent.weights_sha256}" if parent else None,
        ),
        pretraining=(f"{before}{asked.method}", f"{seen}{dataset.name} ({prepared.images.part})"),
        licence=f"your own; {'; '.join(licences)}",
        steps_an_epoch=steps_an_epoch(len(prepared.stream), asked.recipe.global_batch),
        epochs=asked.recipe.epochs,
        every=options.publish_every,
    )
