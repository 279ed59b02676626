"""A task that sleeps, as a package of its own that any process sees which has its folder on the path."""

from pathlib import Path

MODULE = '''
import os, signal, time
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from tasks.base import Score, Task


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Nap(Task):
    """Sleeps for a while, and is rested. It kills its process where the seed is below ``dies_below``, raises
    below ``fails_below``, and needs so many ``halvings`` of the device batch to fit into memory."""

    name: ClassVar[str] = "nap"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "rested"

    seconds: float = 1.0
    dies_below: int = 0
    fails_below: int = 0
    halvings: int = 0

    def uses_seed(self, data):
        return True

    def refusal(self, backbone, data):
        return None

    def run(self, backbone, data, tools, seed):
        if seed < self.dies_below:
            os.kill(os.getpid(), signal.SIGKILL)
        if seed < self.fails_below:
            raise ValueError(f"seed {seed} is not to be woken")
        if tools.execution.halvings < self.halvings:
            raise MemoryError(f"halved {tools.execution.halvings} times, which is not enough")
        time.sleep(self.seconds)
        yield Score("rested", seed / 1000)


TASKS = {"nap": Nap}
'''


def make_site(folder: Path) -> Path:
    """A folder for PYTHONPATH in which ``bob`` finds the task ``nap``."""
    facts = folder / "napping-1.dist-info"
    facts.mkdir(parents=True)
    (folder / "napping.py").write_text(MODULE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: napping\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[bob.tasks]\nnap = napping:Nap\n")
    return folder
