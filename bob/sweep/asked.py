"""Options of ``bob run`` as the roll carries them to workers."""

import os
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bob.options import RunOptions, TrainingOptions

_RUN, _TRAINING = TypeAdapter(RunOptions), TypeAdapter(TrainingOptions)


def packed(options: RunOptions, training: TrainingOptions) -> dict[str, Any]:
    """As JSON's own kinds. Relative paths stay: a worker goes to the folder that they were typed in."""
    return {
        "folder": str(Path.cwd()),
        "run": _RUN.dump_python(options, mode="json"),
        "training": _TRAINING.dump_python(training, mode="json"),
    }


def unpacked(carried: dict[str, Any]) -> tuple[RunOptions, TrainingOptions]:
    """The options, in the folder they were typed in."""
    os.chdir(carried["folder"])
    return _RUN.validate_python(carried["run"]), _TRAINING.validate_python(carried["training"])
