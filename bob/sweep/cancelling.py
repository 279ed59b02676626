"""Ending a sweep's jobs: a word to its launcher, wherever that is, and to the cluster."""

import json
from pathlib import Path

from slurm.cluster import Cluster
from slurm.profile import Profile

PLACE = "place.json"
"""In a sweep's folder: where it was launched last."""

CANCELLED = "cancelled"
"""In a sweep's folder from when it was cancelled until it is launched again."""


def cancel(folder: Path) -> int | None:
    """Mark the sweep, and end its jobs where they are on a cluster: how many; None where its launcher has to end them.

    The launcher comes to know by the mark, and submits nothing more. Raises ``OSError`` where the folder cannot be
    written, ``ValueError`` for one that was not launched, ``UnreachableError`` with the cluster's own words.
    """
    try:
        launched = json.loads((folder / PLACE).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {PLACE}: it was not launched on GPUs or on a cluster") from None
    (folder / CANCELLED).touch()
    if launched["place"] != "slurm":
        return None
    return Cluster(folder.name, folder, Profile(**launched["profile"])).cancel()


def is_cancelled(folder: Path) -> bool:
    """Whether a launcher is to stop."""
    return (folder / CANCELLED).exists()


def begin_anew(folder: Path) -> None:
    """A launch takes back what was cancelled before."""
    (folder / CANCELLED).unlink(missing_ok=True)
