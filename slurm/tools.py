"""SLURM's own programs, called so that they always answer: in bounded time, and with nothing about our own job."""

import os
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from slurm.place import UnreachableError

_OF_A_JOB = ("SLURM", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SACCT_", "SCANCEL_", "PMI_", "PMIX_")
_OF_THE_CLUSTER = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
_DEVICES = frozenset({"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"})


@dataclass(frozen=True)
class Answer:
    """What a program said. ``code`` is its exit code."""

    code: int
    out: str
    error: str


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what a job is told of itself, which a job submitted from inside it would take for its own.

    >>> clean({"HOME": "/", "SLURM_CONF": "/etc/slurm.conf", "SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"})
    {'HOME': '/', 'SLURM_CONF': '/etc/slurm.conf'}
    """
    devices = _DEVICES if "SLURM_JOB_ID" in environment else frozenset()
    return {
        name: value
        for name, value in environment.items()
        if name in _OF_THE_CLUSTER or not (name.startswith(_OF_A_JOB) or name in devices)
    }


def ask(*command: str, seconds: float = 60.0, holding: Collection[int] = ()) -> Answer:
    """Run a program to its end. It holds on to these open files, should this process be killed before it ends.

    Raises :class:`UnreachableError` where there is no such program, or no answer in this time.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds,
            env=clean(os.environ), pass_fds=tuple(holding),
            start_new_session=True,  # Ctrl-C is for us: sbatch ends what it began
        )  # fmt: skip
    except FileNotFoundError:
        raise UnreachableError(
            f"there is no {command[0]} here: use a machine that SLURM jobs are submitted from (a login node)"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"{command[0]} did not answer in {seconds:g} s") from None
    return Answer(done.returncode, done.stdout, done.stderr.strip())
