"""``bob pretrain``: a method, images and a backbone put together, trained in a folder of their own, and published."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from backbones.pretraining.beginning import Beginning, begun_from, drawn
from backbones.pretraining.catalogue import build_method
from backbones.pretraining.checks import check_comparisons, check_images, check_views_fit
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.publishing import Lineage, Publisher, recipe_sha256
from backbones.pretraining.runs import FINISHED, RUNS, SETTINGS, published_steps
from backbones.pretraining.views.stream import ViewStream
from backbones.strict_yaml import read_yaml
from backbones.training.chance import seed_of
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.order import steps_an_epoch
from bob.options import PretrainOptions
from bob.plan import PlanError
from bob.pretraining.asked import Asked, asked_for
from bob.pretraining.live import Live
from bob.pretraining.material import Material, material
from bob.pretraining.page import dotted
from bob.pretraining.probes import FeaturesNow, Probe, probes
from bob.progress import Progress
from bob.provenance import provenance
from tasks.datasets.base import OpenOptions

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
    check_images(asked.recipe.global_batch, len(images.rows))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(options.seed, HEADS, 0))
        built = build_method(asked.settings, encoder_over(backbone), len(images.rows))
    check_comparisons(method, built, asked.recipe.global_batch)
    check_views_fit(built, asked.settings.views)
    stream = ViewStream(
        images.images, images.rows, backbone.preprocess, asked.settings.views, options.seed, asked.recipe
    )
    found = probes(options.probe, backbone, opening, FeaturesNow(execution.workers, execution.precision))
    name = options.name or _name(asked, backbone.card.architecture, images, options.seed)
    settings = _settings(asked, images, beginning, found, options.seed, execution.precision)
    return Pretraining(RUNS / name, asked, images, beginning, Pretrainee(built), stream, found, options.seed, settings)


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


def _settings(
    asked: Asked, images: Material, beginning: Beginning, found: Mapping[str, Probe], seed: int, precision: str
) -> dict[str, Any]:
    """What the weights and the history depend on, as plain values."""
    parent = beginning.parent
    values = {
        "method": {"name": asked.method, **asdict(asked.settings)},
        "recipe": asdict(asked.recipe),
        "architecture": {**asdict(beginning.architecture), "size": list(beginning.backbone.preprocess.size)},
        "init": None if parent is None else {"name": parent.name, "weights_sha256": parent.weights_sha256},
        "data": images.facts,
        "probes": {name: probe.dataset.manifest_sha256 for name, probe in found.items()},
        "seed": seed,
        "precision": precision,
    }
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def train(prepared: Pretraining, options: PretrainOptions, execution: Execution, progress: Progress) -> str:
    """Train, or go on, to the end; the name of what is published then.

    Raises :class:`PlanError` where the folder is of another training, naming the settings that differ, and what the
    loop raises.
    """
    folder = prepared.folder
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _write_settings(prepared)
        if (folder / FINISHED).exists():
            progress.say(f"run {prepared.run} is finished: nothing to do")
            return _newest(folder)
        with Live(folder, prepared.settings, prepared.asked.recipe.epochs, progress) as live:
            fitted = fit(
                prepared.trainee,
                prepared.stream,
                prepared.asked.recipe,
                replace(execution, folder=folder, report=live.report),
                prepared.seed,
                evaluate=Evaluation(prepared.probes),
                log=live,
                settings=dotted({**prepared.settings, "recipe": {}}),
                publish=_publisher(prepared, options),
            )
        facts = {"steps": fitted.steps, "images_per_second": fitted.images_per_second, "notes": fitted.notes}
        _write(folder / FINISHED, yaml.safe_dump(json.loads(json.dumps(facts, default=str)), sort_keys=False))
    return _newest(folder)


class Evaluation:
    """What is asked after every epoch; sent to other processes where several train."""

    def __init__(self, asked: Mapping[str, Probe]) -> None:
        self.asked = dict(asked)

    def __call__(self, model: Any) -> dict[str, float]:
        backbone = model.method.published()
        return {name: probe(backbone) for name, probe in self.asked.items()}


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
            recipe_sha256=recipe_sha256(prepared.settings),
            data=dataset.manifest_sha256,
            parent=f"{parent.name} {parent.weights_sha256}" if parent else None,
        ),
        pretraining=(f"{before}{asked.method}", f"{seen}{dataset.name} ({prepared.images.part})"),
        licence=f"your own; {'; '.join(licences)}",
        steps_an_epoch=steps_an_epoch(len(prepared.stream), asked.recipe.global_batch),
        epochs=asked.recipe.epochs,
        every=options.publish_every,
    )


def _write_settings(prepared: Pretraining) -> None:
    """``run.yaml``, or the one that is there compared with it."""
    path = prepared.folder / SETTINGS
    if path.exists():
        _check_same(prepared, read_yaml(path))
        return
    source = provenance()
    facts = {
        "run": prepared.run,
        "preset": prepared.asked.preset or None,
        "images": {"used": prepared.images.dataset.n_used, "found": prepared.images.dataset.n_total},
        "warnings": list(prepared.images.dataset.warnings),
        "made_by": source.model_dump(),
    }
    _write(path, yaml.safe_dump({"settings": prepared.settings, **facts}, sort_keys=False, allow_unicode=True))


def _check_same(prepared: Pretraining, written: Mapping[str, Any]) -> None:
    here, there = dotted(prepared.settings), dotted(written["settings"])
    absent = "absent"
    differ = [
        f"{name} is {here.get(name, absent)!r}, there {there.get(name, absent)!r}"
        for name in {**here, **there}
        if here.get(name, absent) != there.get(name, absent)
    ]
    if differ:
        begin = f"run {prepared.run!r} ({prepared.folder}) is of another training; give this one another --name"
        raise PlanError([begin, *differ])


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _newest(folder: Path) -> str:
    return f"checkpoint:{folder.name}@{published_steps(folder)[-1]}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two trainings in one folder would write over each other's checkpoints."""
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise ValueError(f"run {folder.name!r} is being trained by another process here ({folder})") from None
