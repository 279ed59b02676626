"""Checkpoints: folders that are whole or absent, the last few kept, a damaged one passed over for the one before."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FACTS = "checkpoint.json"
WRITING = ".writing-"
PLACES = "step-*"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a training: tensors by file and name, and everything else as plain JSON values."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    facts: Mapping[str, Any]


class DamagedError(ValueError):
    """A checkpoint that is not what was written."""


class Checkpoints:
    """The checkpoints of one training in a folder; one process writes them."""

    def __init__(self, folder: Path, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep_checkpoints={keep}: at least one has to be kept to go on from")
        self.folder, self.keep = folder, keep

    def save(self, checkpoint: Checkpoint) -> None:
        """Write it whole under a temporary name, move it into place, then remove what is older than the last few.

        A disk that is full raises ``OSError`` (or safetensors' own error) and leaves those before as they were.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clean()
        new = self.folder / f"{WRITING}{os.getpid()}"
        try:
            new.mkdir()
            _write(new, checkpoint)
            place = self._place(checkpoint.step)
            if place.exists():
                shutil.rmtree(place)
            new.rename(place)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _sync(self.folder)
        for old in self.places()[: -self.keep]:
            shutil.rmtree(old)

    def latest(self) -> Checkpoint | None:
        """The newest that is whole, if any. A damaged one is removed with a warning that says what is wrong with it."""
        for place in reversed(self.places()):
            try:
                return _read(place)
            except (DamagedError, FileNotFoundError) as error:
                warnings.warn(f"checkpoint {place} is damaged ({error}); going on from the one before", stacklevel=2)
                shutil.rmtree(place)
        return None

    def places(self) -> list[Path]:
        """Folders of checkpoints, oldest first."""
        return sorted(self.folder.glob(PLACES))

    def clean(self) -> None:
        """Remove what a writer that was killed left behind."""
        for left in self.folder.glob(f"{WRITING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step:012d}"


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    digests = {}
    for name, tensors in checkpoint.tensors.items():
        path = folder / f"{name}.safetensors"
        save_file(dict(tensors), path)
        digests[path.name] = _digest(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    body = {"format": FORMAT, "step": checkpoint.step, "files": digests, "facts": dict(checkpoint.facts)}
    with (folder / FACTS).open("x", encoding="utf-8") as text:
        json.dump({**body, "sha256": _body_digest(body)}, text, allow_nan=False)
        text.flush()
        os.fsync(text.fileno())
    _sync(folder)


def _read(folder: Path) -> Checkpoint:
    try:
        body = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        said = body.pop("sha256")
    except (ValueError, KeyError, AttributeError) as error:
        raise DamagedError(f"{FACTS} cannot be read: {error}") from None
    if said != _body_digest(body):
        raise DamagedError(f"{FACTS} was changed after it was written")
    if body["format"] != FORMAT:
        raise ValueError(f"checkpoint {folder} has format {body['format']}, this version reads {FORMAT}; remove it")
    tensors = {}
    for name, digest in body["files"].items():
        if _digest(folder / name) != digest:
            raise DamagedError(f"{name} was changed after it was written")
        try:
            tensors[Path(name).stem] = load_file(folder / name)
        except SafetensorError as error:
            raise DamagedError(f"{name} cannot be read: {error}") from None
    return Checkpoint(body["step"], tensors, body["facts"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _body_digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
