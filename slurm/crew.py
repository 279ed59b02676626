"""Processes that a scheduler started as one job, and how the first of them tells the others what comes next."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.1
_END = "end"


@dataclass(frozen=True)
class Crew:
    """This process's place among those of its job. ``job`` is another one each time the job is started again."""

    rank: int = 0
    size: int = 1
    nodes: int = 1
    job: str = ""

    @property
    def leads(self) -> bool:
        """Whether it is the first, which decides and writes."""
        return self.rank == 0


def crew() -> Crew:
    """Of the job step that this process is in; alone outside of one.

    A shell inside an allocation is alone as well: only steps have process numbers.
    """
    size = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if size == 1 or "SLURM_PROCID" not in os.environ:
        return Crew()
    return Crew(
        rank=int(os.environ["SLURM_PROCID"]),
        size=size,
        nodes=int(os.environ.get("SLURM_STEP_NUM_NODES", "1")),
        job=f"{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_RESTART_COUNT', '0')}",
    )


class Turns:
    """Names that the first process calls out, one after the other, and the others hear in that order.

    Files in a shared folder, for this comes before the processes are in touch with each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._called = folder, 0

    def call(self, name: str) -> None:
        """Tell the others that this is next."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self._called:06d}"
        temporary = file.with_suffix(".new")
        temporary.write_text(name, encoding="utf-8")
        os.rename(temporary, file)
        self._called += 1

    def end(self) -> None:
        """Tell them that nothing comes any more."""
        self.call(_END)

    def heard(self) -> Iterator[str]:
        """What is called, as it comes, to the end. Ended itself, as all of a step are, where the first one dies."""
        number = 0
        while True:
            file = self.folder / f"{number:06d}"
            while not file.exists():
                time.sleep(LOOK_SECONDS)
            name = file.read_text(encoding="utf-8")
            if name == _END:
                return
            yield name
            number += 1
