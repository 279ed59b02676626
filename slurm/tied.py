"""Work in a process that never outlives those who started it. Imports little, for every job on this machine does."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from slurm.child import die_with_parent

EXIT_STOPPED = 75
"""Of a job that was told to end; EX_TEMPFAIL of sysexits.h."""

OF_A_STEP = ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")
"""A supervisor inside a step of SLURM has these; its jobs are processes of their own, which it tells to end itself."""


@dataclass(frozen=True)
class Tied:
    """What a local job of submitit calls. It ends when it is told to (SIGTERM), with submitit's process over it, or
    with the supervisor: that one gone, it is told to end, and killed after the grace.
    """

    work: Callable[[], Any]
    supervisor: int
    grace_s: float

    def __call__(self) -> None:
        signal.signal(signal.SIGTERM, _leave)  # submitit would ignore it
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # and at this one start the job again
        die_with_parent(int(os.environ["SUBMITIT_LOCAL_JOB_ID"]))
        threading.Thread(target=self._end_with_supervisor, daemon=True).start()
        for name in OF_A_STEP:
            os.environ.pop(name, None)
        self.work()

    def _end_with_supervisor(self) -> None:
        with suppress(ProcessLookupError):  # gone already
            select.select([os.pidfd_open(self.supervisor)], [], [])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self.grace_s)
        os.kill(os.getpid(), signal.SIGKILL)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_STOPPED)
