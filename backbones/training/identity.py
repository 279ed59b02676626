"""What a checkpoint belongs to: everything the number depends on, compared field by field before it is gone on from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from backbones.training.job import Job


class CannotResumeError(ValueError):
    """A checkpoint of another training: says which fields differ, and what they are here and there."""


def identity_of(job: Job) -> dict[str, Any]:
    """Named plain values; the job's settings are what only its caller knows (augmentation, the data's manifest)."""
    shapes = {name: [str(value.dtype), *value.shape] for name, value in job.trainee.state_dict().items()}
    fields = {
        **{f"recipe.{name}": value for name, value in asdict(job.recipe).items()},
        **{f"settings.{name}": value for name, value in job.settings.items()},
        "seed": job.seed,
        "precision": job.execution.precision,
        "items": len(job.stream),
        "names of the items": _digest(list(job.stream.names)),
        "architecture": f"{len(shapes)} tensors, {_digest(shapes)}",
    }
    return dict(json.loads(json.dumps(fields, default=str)))


def check_identity(here: Mapping[str, Any], there: Mapping[str, Any], place: object) -> None:
    """Raises :class:`CannotResumeError`, naming every field that differs."""
    missing = object()
    names = [*here, *(name for name in there if name not in here)]
    differ = [name for name in names if here.get(name, missing) != there.get(name, missing)]
    if differ:
        said = "; ".join(f"{name} is {here.get(name)!r}, there {there.get(name)!r}" for name in differ)
        raise CannotResumeError(
            f"the checkpoints in {place} are of another training: {said}. Restore {', '.join(differ)}, or give this "
            "training another folder (or remove that one to begin again)"
        )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
