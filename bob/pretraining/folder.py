"""The folder of a run: one training, said in ``run.yaml`` before it begins, and one process at a time."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from backbones.pretraining.runs import SETTINGS, published_steps
from backbones.strict_yaml import read_yaml
from backbones.training.devices import processes_here
from backbones.training.execution import Execution
from bob.plan import PlanError
from bob.pretraining.page import dotted


def begin(folder: Path, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write ``run.yaml``, or compare the one that is there.

    Raises :class:`PlanError` where it is of another training, with a line for each setting that differs.
    """
    path = folder / SETTINGS
    if not path.exists():
        write(path, {"settings": settings, **facts})
        return
    here, there, absent = dotted(settings), dotted(read_yaml(path)["settings"]), "absent"
    differ = [
        f"{name} is {here.get(name, absent)!r}, there {there.get(name, absent)!r}"
        for name in {**here, **there}
        if here.get(name, absent) != there.get(name, absent)
    ]
    if differ:
        raise PlanError([f"run {folder.name!r} is of another training ({path}): give this one another --name", *differ])


@contextmanager
def alone(folder: Path, execution: Execution) -> Iterator[None]:
    """Two trainings in one folder would write over each other's checkpoints. A launcher's processes are one training.

    Raises :class:`PlanError` where another process is at it.
    """
    if execution.devices > 1 and processes_here() == execution.devices:
        yield
        return
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise PlanError([f"run {folder.name!r} is being trained by another process now ({folder})"]) from None
    with lock:
        yield


def write(path: Path, values: Mapping[str, Any]) -> None:
    """As YAML, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8") as file:
        yaml.safe_dump(plain(values), file, sort_keys=False, allow_unicode=True)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As YAML and JSON hold them: tuples are lists, and what is neither is its text."""
    same: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return same


def newest(folder: Path) -> str:
    """The name of what a run published last."""
    return f"checkpoint:{folder.name}@{published_steps(folder)[-1]}"
