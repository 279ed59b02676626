"""What reproduces a record: versions, commit, hardware, the command."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from bob.sweep.code import code_digest, copied_commit
from results.attempts import this_job, this_node
from results.record import Provenance

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")


def provenance() -> Provenance:
    """Of this process, now."""
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bob_version=_version("battle-of-the-backbones"),
        commit=commit(),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        hardware=_hardware(),
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        code=code_digest(),
        node=this_node(),
        job=this_job(),
    )


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@cache
def commit() -> str:
    """The checkout's commit, ``+`` when it was changed since; ``unknown`` when installed without its repository.

    Of code that was copied to be run later, the commit it was copied from.
    """
    if (copied := copied_commit()) is not None:
        return copied
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


@cache
def _hardware() -> dict[str, str]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "gpus": ", ".join(gpus) or "none",
    }
