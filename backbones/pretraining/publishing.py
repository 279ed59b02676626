"""Checkpoints for others: the trunk's weights with a card, in a folder that is whole or absent."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save_file

from backbones.adapters.checkpoint import CardFile, card_of
from backbones.base import Backbone
from backbones.pretraining.beginning import Architecture
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.runs import CARD, WEIGHTS, published_folder
from backbones.reference import model_of
from backbones.training.trainee import Trainee

WRITING = ".writing-"


@dataclass(frozen=True)
class Lineage:
    """What every checkpoint of a run says of where it comes from."""

    run: str
    method: str
    recipe_sha256: str
    data: str
    parent: str | None


@dataclass(frozen=True)
class Publisher:
    """Publishes what a training has come to: every so many epochs (0: never before the end) and at the end.

    ``pretraining`` is the card's method and data in words.
    """

    folder: Path
    architecture: Architecture
    lineage: Lineage
    pretraining: tuple[str, str]
    licence: str
    steps_an_epoch: int
    epochs: int
    every: int

    def __call__(self, model: Trainee, step: int) -> None:
        """After an epoch that ends at ``step``."""
        assert isinstance(model, Pretrainee)
        epoch = step // self.steps_an_epoch
        if epoch == self.epochs or (self.every and epoch % self.every == 0):
            self.publish(model.method.published(), step)

    def publish(self, backbone: Backbone, step: int) -> Path:
        """The folder of its card, written whole under another name and moved into place."""
        place = published_folder(self.folder, step)
        new = place.with_name(f"{WRITING}{os.getpid()}")
        for left in place.parent.glob(f"{WRITING}*"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            card = self.card(backbone, step, _save(backbone, new / WEIGHTS))
            _write(new / CARD, yaml.safe_dump(card, sort_keys=False, allow_unicode=True))
            if place.exists():  # a training that was stopped goes on from before it
                shutil.rmtree(place)
            new.rename(place)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _sync(place.parent)
        return place

    def card(self, backbone: Backbone, step: int, sha256: str) -> dict[str, Any]:
        """The card as plain values, found to be one; ``sha256`` is the file's of the weights."""
        name = f"{self.lineage.run}@{step}"
        method, data = self.pretraining
        content = {
            "name": name,
            "weights": WEIGHTS,
            "sha256": sha256,
            "library": self.architecture.library,
            "architecture": self.architecture.name,
            "kwargs": dict(self.architecture.kwargs),
            "preprocess": asdict(backbone.preprocess),
            "family": "self-supervised",
            "pretraining": {"method": method, "data": data},
            "licence": self.licence,
            "revision": name,
            "missing": self.architecture.missing,
            "lineage": {**asdict(self.lineage), "step": step},
        }
        plain: dict[str, Any] = json.loads(json.dumps(content))
        card_of(plain, name, CardFile)
        return plain


def digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, whatever their order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _save(backbone: Backbone, path: Path) -> str:
    """Write the weights; the file's SHA-256."""
    state = model_of(backbone).state_dict()
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
