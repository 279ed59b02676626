"""The GPUs of this machine: which there are, what is free on them, and which of them a job may start on."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurm.resources import Resources

ANSWER_S = 60
ROUNDING_GB = 1e-6


@dataclass(frozen=True)
class Gpu:
    """``index`` as nvidia-smi counts them (by PCI bus); ``memory_gb`` is what our jobs may use of it together."""

    index: int
    memory_gb: float


def detect_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi knows and CUDA_VISIBLE_DEVICES leaves us, with the memory that is free on them now.

    Raises ``ValueError`` for a device of CUDA_VISIBLE_DEVICES that is not there.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=index,uuid,memory.total,memory.used"
    answer = subprocess.run(
        [program, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=ANSWER_S, check=False
    )
    if answer.returncode != 0:
        return []  # a driver without a device says so with an exit code
    there = [[each.strip() for each in line.split(",")] for line in answer.stdout.splitlines() if line.count(",") == 3]
    gpus = {index: Gpu(int(index), _free_gb(total, used)) for index, _, total, used in there}
    return _visible(gpus, {uuid: index for index, uuid, _, _ in there})


def _free_gb(total_mib: str, used_mib: str) -> float:
    """Zero where the driver does not tell, as of memory that is shared with the machine: then it takes one job."""
    try:
        return (float(total_mib) - float(used_mib)) / 1024
    except ValueError:
        return 0.0


def _visible(gpus: Mapping[str, Gpu], by_uuid: Mapping[str, str]) -> list[Gpu]:
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return list(gpus.values())
    chosen = []
    for device in (each.strip() for each in said.split(",")):
        if device in ("", "-1", "NoDevFiles"):
            break  # CUDA sees what is before it
        index = next((index for uuid, index in by_uuid.items() if uuid.startswith(device)), device)
        if index not in gpus:
            raise ValueError(
                f"CUDA_VISIBLE_DEVICES={said!r:.200}: this machine has no {device!r:.60}, but "
                f"{', '.join(f'{index} ({uuid})' for uuid, index in by_uuid.items()) or 'no GPU'}"
            )
        chosen.append(gpus[index])
    return chosen


class Room:
    """What is left on each GPU, and the processors that jobs without one use.

    ``reserve`` is the share of a GPU's memory that stays free, since estimates err. A job takes as many GPUs as its
    ``gpus_per_node``, of each its ``mem_gb``; a whole one where that is not known, the largest where none is enough.
    """

    def __init__(self, gpus: Sequence[Gpu], cpus: int, reserve: float) -> None:
        self.whole = {gpu.index: gpu.memory_gb * (1 - reserve) for gpu in gpus}
        self.left = dict(self.whole)
        self.jobs = dict.fromkeys(self.whole, 0)
        self.cpus, self.cpus_left = cpus, cpus

    def refusal(self, resources: Resources) -> str | None:
        """Why no job that asks for this can ever start here."""
        if resources.nodes > 1:
            return f"a job asks for {resources.nodes} nodes, and this machine is one: use a cluster"
        if resources.gpus_per_node > len(self.whole):
            return f"a job asks for gpus_per_node={resources.gpus_per_node}, and this machine has {len(self.whole)}"
        return None

    def find(self, resources: Resources, kept: Sequence[int] = ()) -> tuple[int, ...] | None:
        """The GPUs a job would get now: those it fills best, the largest where its need is not known. None: it waits.

        ``kept`` are GPUs that somebody waits for.
        """
        wanted = resources.gpus_per_node
        if wanted == 0:
            return () if self.cpus_left >= self._processors(resources) else None
        fitting = [gpu for gpu in self.whole if gpu not in kept and self._fits(resources, gpu)]
        best = sorted(fitting, key=lambda gpu: -self.left[gpu] if resources.mem_gb is None else self.left[gpu])
        return tuple(sorted(best[:wanted])) if len(best) >= wanted else None

    def soonest(self, resources: Resources) -> tuple[int, ...]:
        """The GPUs to keep for a job that waits: those with the most left, of which nobody may take any more."""
        return tuple(sorted(self.whole, key=lambda gpu: -self.left[gpu])[: resources.gpus_per_node])

    def take(self, resources: Resources, gpus: Sequence[int]) -> None:
        """A job starts on these."""
        self._change(resources, gpus, 1)

    def give_back(self, resources: Resources, gpus: Sequence[int]) -> None:
        """A job on these is over."""
        self._change(resources, gpus, -1)

    def _need(self, resources: Resources, gpu: int) -> float:
        return self.whole[gpu] if resources.mem_gb is None else min(resources.mem_gb, max(self.whole.values()))

    def _fits(self, resources: Resources, gpu: int) -> bool:
        need = self._need(resources, gpu)
        return (self.jobs[gpu] == 0 and need <= self.whole[gpu]) or 0 < need <= self.left[gpu] + ROUNDING_GB

    def _processors(self, resources: Resources) -> int:
        return min(resources.cpus_per_task, self.cpus)

    def _change(self, resources: Resources, gpus: Sequence[int], jobs: int) -> None:
        for gpu in gpus:
            self.jobs[gpu] += jobs
            left = self.left[gpu] - jobs * self._need(resources, gpu)
            self.left[gpu] = left if self.jobs[gpu] else self.whole[gpu]
        if not gpus:
            self.cpus_left -= jobs * self._processors(resources)
