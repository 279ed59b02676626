"""This machine's GPUs: jobs through submitit's local executor, as many at once as the memory of the GPUs allows.

FOLDER/jobs/TIME-TOKEN/00001/    the pickles and the log of a supervisor's first job, and so on

The queue is in the process of the supervisor: it starts jobs when it looks, and they end with it.
"""

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from submitit import Job
from submitit.core.utils import environment_variables
from submitit.local.local import LocalExecutor

from slurm.gpus import Gpu, Room
from slurm.job_log import last_words
from slurm.parcel import Parcel
from slurm.place import End, Standing, Work
from slurm.tied import Tied

NO_LIMIT_MIN = 60 * 24 * 365
"""Nobody queues for this machine but us, so a job may take as long as it takes; submitit wants a number."""

GRACE_S = 90.0
"""What a job has to end when it is told to; more than it gives its own workers."""

ALWAYS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PYTHONSAFEPATH": "1"}
"""For every job: GPUs counted as nvidia-smi does; code from where it is installed or PYTHONPATH says, never from the
folder we happen to stand in."""


@dataclass
class _Running:
    """A job that has begun and is not known to be over."""

    parcel: Parcel
    gpus: tuple[int, ...]
    job: Job[Any]
    kill_at: float | None = None

    @property
    def pid(self) -> int:
        """Of submitit's process that watches over the job. Ours alone until :meth:`over` has said so."""
        return int(self.job.job_id)

    def over(self) -> bool:
        return bool(self.job.done())

    def end(self) -> End:
        """How it ended, by its log; one that does not say was killed."""
        log = self.job.paths.stdout
        said = last_words(log)
        state = "CANCELLED" if self.kill_at is not None else "KILLED" if said is None else said.state
        return End(self.job.job_id, state, None, socket.gethostname(), str(log))

    def stop(self, grace_s: float) -> bool:
        """Tell it to end, once; kill it when the grace is over. False: it was told before."""
        now = time.monotonic()
        first = self.kill_at is None
        if first:
            self.kill_at = now + grace_s
            os.kill(self.pid, signal.SIGTERM)
        elif self.kill_at is not None and now >= self.kill_at:
            os.kill(self.pid, signal.SIGKILL)  # and so all that it started
        return first


class Machine:
    """Jobs of one supervisor on these GPUs; use it as a context, so that they end (with a checkpoint) when it does.

    A parcel gets ``gpus_per_node`` GPUs in one process, with ``mem_gb`` of each (None: whole ones); several share a GPU
    where their memory allows, but for the share ``reserve`` that stays free. One that asks for no GPU sees none, and
    such take no more processors together than there are. The first in the queue that does not fit keeps GPUs for
    itself, so small ones behind it never starve it. ``environment`` is added to ours for every job.

    Killed without a word, the supervisor takes its jobs along: each is told to end, and killed after a grace.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        gpus: Sequence[Gpu],
        environment: Mapping[str, str] | None = None,
        reserve: float = 0.1,
    ) -> None:
        self.name, self.gpus = name, tuple(gpus)
        self.environment = {**(environment or {}), **ALWAYS}
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        token = secrets.token_hex(4)  # submitit's files are named by process ids, which come again
        self.folder = folder.absolute() / "jobs" / f"{now}-{token}"
        self._room = Room(self.gpus, len(os.sched_getaffinity(0)), reserve)
        self._queue: list[tuple[Parcel, Callable[[Parcel], Work]]] = []
        self._running: list[_Running] = []
        self._ends: dict[str, End] = {}
        self._started = 0

    def submit(self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work]) -> None:
        """As :class:`slurm.place.Place`. Raises ``ValueError`` for a parcel that can never start here."""
        for parcel in parcels:
            if (refusal := self._room.refusal(parcel.resources)) is not None:
                raise ValueError(f"{self.name}: {refusal} (units {', '.join(parcel.units[:3])})")
        stand = self.standing()
        for parcel in parcels:
            units = tuple(unit for unit in parcel.units if unit not in stand)
            if units:
                self._queue.append((replace(parcel, units=units), work))
        self._start_what_fits()

    def standing(self) -> Mapping[str, Standing]:
        """By unit, what is queued or running; jobs that are over make room here for those in the queue."""
        self._collect()
        self._start_what_fits()
        queued = {unit: Standing("", "queued", "no GPU has room") for parcel, _ in self._queue for unit in parcel.units}
        running = {unit: Standing(each.job.job_id, "running") for each in self._running for unit in each.parcel.units}
        return queued | running

    def ends(self) -> Mapping[str, End]:
        """By unit, how its last job here ended: COMPLETED says that the job came to its end, not the unit."""
        self._collect()
        return dict(self._ends)

    def cancel(self, units: Collection[str] | None = None) -> int:
        """Take these units (None: all) out of the queue, and tell the jobs that run with one of them to end."""
        queue, self._queue = self._queue, []
        touched = 0
        for parcel, work in queue:
            left = tuple(unit for unit in parcel.units if units is not None and unit not in units)
            touched += left != parcel.units
            if left:
                self._queue.append((replace(parcel, units=left), work))
        self._collect()
        chosen = [each for each in self._running if units is None or not set(units).isdisjoint(each.parcel.units)]
        return touched + sum(each.stop(GRACE_S) for each in chosen)

    def close(self, grace_s: float = GRACE_S) -> None:
        """End all jobs: told first, killed after the grace. Returns when none is left."""
        self._queue.clear()
        while self._running:
            for each in self._running:
                each.stop(grace_s)
            time.sleep(0.05)
            self._collect()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _collect(self) -> None:
        """Notice jobs that are over, and kill those that would not end."""
        for each in list(self._running):
            if each.over():
                self._running.remove(each)
                self._room.give_back(each.parcel.resources, each.gpus)
                self._ends |= dict.fromkeys(each.parcel.units, each.end())
            elif each.kill_at is not None:
                each.stop(0)

    def _start_what_fits(self) -> None:
        """In the order of the queue; behind the first that has to wait, what takes none of the GPUs kept for it."""
        kept: tuple[int, ...] = ()
        position = 0
        while position < len(self._queue):
            parcel, work = self._queue[position]
            gpus = self._room.find(parcel.resources, kept)
            if gpus is None:
                kept = kept or self._room.soonest(parcel.resources)
                position += 1
            else:
                self._start(parcel, work(parcel), gpus)
                del self._queue[position]

    def _start(self, parcel: Parcel, work: Work, gpus: tuple[int, ...]) -> None:
        executor = LocalExecutor(self.folder / f"{self._started:05}")  # one a job: it waits between jobs of its own
        executor.update_parameters(
            timeout_min=NO_LIMIT_MIN, gpus_per_node=len(gpus), visible_gpus=list(gpus), stderr_to_stdout=True
        )
        with _no_interrupts(), environment_variables(**self.environment):
            job = executor.submit(Tied(work, os.getpid(), GRACE_S))
        self._started += 1
        self._room.take(parcel.resources, gpus)
        self._running.append(_Running(parcel, gpus, job))


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """What is started meanwhile never hears a terminal's Ctrl-C, at which submitit gives a job one second."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
