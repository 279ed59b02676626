"""What jobs of the tests call; jobs import it, so its folder is on their PYTHONPATH."""

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

from slurm.parcel import Parcel


@dataclass(frozen=True)
class Chore:
    """Notes that each unit began (a line each start), then does what the unit's name says up to a dash."""

    folder: Path
    parcel: Parcel

    def __call__(self) -> None:
        for unit in self.parcel.units:
            self._note(unit)
            kind = unit.partition("-")[0]
            if kind == "sleep":
                time.sleep(600)
            if kind == "error":
                raise ValueError(f"{unit} is an error")
            if kind == "exit":
                os._exit(3)

    def checkpoint(self) -> DelayedSubmission:
        return DelayedSubmission(self)

    def _note(self, unit: str) -> None:
        names = ("MASTER_ADDR", "MASTER_PORT", "PYTHONPATH", "CUDA_VISIBLE_DEVICES")
        facts = {name: value for name, value in os.environ.items() if name.startswith("SLURM_") or name in names}
        line = json.dumps({"host": socket.gethostname(), "python": os.sys.executable, **facts}) + "\n"
        with (self.folder / unit).open("a") as file:
            file.write(line)
