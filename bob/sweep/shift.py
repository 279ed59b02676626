"""What a job calls: a worker in a process of its own, watched, so that a cell that kills its process kills no other."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.helpers import DelayedSubmission

from bob.interrupt import EXIT_REQUEUE
from results.attempts import Cause, this_job, this_node
from results.store import Store
from slurm.child import Child, Ended
from slurm.crew import crew
from slurm.memory import kills_for_memory

EXIT_SETTLED = (0, 1)
"""Exit codes of a worker that came to its end: all done, or some failed, which it has recorded."""


class WorkerDiedError(RuntimeError):
    """A worker ended without a word, and starting it again here would not help."""


@dataclass
class Shift:
    """The cells of these keys, on the sweep of that folder. Pickled with its job, so it holds nothing that lives.

    ``grace_s`` is how long a worker that is stopped has for its checkpoint, before it is killed.
    """

    folder: Path
    keys: tuple[str, ...]
    python: str
    environment: Mapping[str, str]
    grace_s: float = 60.0
    _child: Child | None = field(default=None, repr=False)

    def __call__(self) -> None:
        """Start workers until all cells are settled: a dead one's attempts are ended, and the rest goes on without."""
        keys = self.keys
        while keys:
            kills = kills_for_memory()
            ended, pid = self._work(keys)
            if ended.exit_code in EXIT_SETTLED or ended.exit_code == EXIT_REQUEUE:
                return
            if ended.heard:  # stopped before it could say so
                self._end_attempts(ended, pid, "stopped")
                return
            lost = self._end_attempts(ended, pid, "out of memory" if kills_for_memory() > kills else "killed")
            if not lost or crew().size > 1:
                raise WorkerDiedError(f"the worker ended with {_how(ended)}:\n{ended.tail}")
            keys = keys[1 + max(map(keys.index, lost)) :]

    def checkpoint(self) -> DelayedSubmission:
        """The scheduler wants its machine back: the worker keeps what it has, and the same is to be called again."""
        if self._child is not None:
            self._child.stop(self.grace_s)
        return DelayedSubmission(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_child": None}

    def _work(self, keys: tuple[str, ...]) -> tuple[Ended, int]:
        """Run one worker to its end; how that was, and its process id."""
        log = self.folder / "logs" / f"{_job()}.log"
        with tempfile.TemporaryDirectory(prefix="bob-shift-") as own:
            listed = Path(own) / "keys.json"
            listed.write_text(json.dumps(keys))
            command = [self.python, "-m", "bob.cli", "work", str(self.folder), str(listed)]
            self._child = Child(command, log, {**self.environment, "BOB_LOG": str(log)})
            pid = self._child.start()
            return self._child.wait(), pid

    def _end_attempts(self, ended: Ended, pid: int, cause: Cause) -> list[str]:
        """Say of the cells that the dead worker was at how it died; their keys, of those given."""
        message = f"its process ended with {_how(ended)}"
        store = Store(self.folder.parents[1])
        lost = store.end_attempts(this_node(), pid, cause, message, ended.exit_code, ended.tail)
        return [key for key in lost if key in self.keys]


def _job() -> str:
    """A name for the log of this process's job, told apart by rank."""
    job = this_job() or f"{this_node()}-{os.getpid()}"
    return f"{job}-{rank}" if (rank := crew().rank) else job


def _how(ended: Ended) -> str:
    return f"signal {ended.signal}" if ended.signal else f"exit code {ended.exit_code}"
