"""What jobs of the tests do. They import it by name, so it is a module of its own."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

from slurm.cluster import Cluster
from slurm.parcel import Parcel
from slurm.profile import Profile
from slurm.resources import Resources

SMALL = Resources(time_min=5, cpus_per_task=1, mem_gb=0.1)


@dataclass(frozen=True)
class Chore:
    """Of each unit it notes its environment, a line each start, and then does what the name says up to a dash."""

    folder: Path
    parcel: Parcel

    def __call__(self) -> None:
        for unit in self.parcel.units:
            self._note(unit)
            DEEDS[unit.partition("-")[0]](self.folder)

    def checkpoint(self) -> DelayedSubmission:
        return DelayedSubmission(self)

    def _note(self, unit: str) -> None:
        with (self.folder / f"{unit}.txt").open("a") as file:
            file.write(json.dumps(dict(os.environ)) + "\n")


def fail(folder: Path) -> None:
    raise ValueError("this deed is an error")


def launch(folder: Path) -> None:
    """Submit from inside a job."""
    Cluster(f"{folder.name}-inner", folder / "inner", Profile()).submit(
        [Parcel(("pass-inner",), SMALL)], lambda parcel: Chore(folder, parcel)
    )


def sleep(folder: Path) -> None:
    """Long. It dies of SIGTERM, which submitit ignores: tests do not wait for SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(300)


DEEDS: dict[str, Callable[[Path], None]] = {
    "pass": lambda folder: None,
    "sleep": sleep,
    "error": fail,
    "exit": lambda folder: os._exit(3),
    "launch": launch,
}
