"""What squeue says of the jobs of a name: the only word on what stands that is taken."""

from dataclasses import dataclass
from typing import Literal

from slurm.place import UnreachableError
from slurm.tools import ask

OVER = frozenset(
    {
        "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE",
        "OUT_OF_MEMORY", "REVOKED",
    }
)  # fmt: skip
"""States from which no job comes back. One that is about to be requeued is completing or pending."""

_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})


@dataclass(frozen=True)
class Seen:
    """A job, or one element of an array (``job`` is ``123_4``), as the controller has it; it forgets in minutes."""

    job: str
    state: str
    reason: str
    node: str
    comment: str

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def standing(self) -> Literal["queued", "running"]:
        """Of one that is not over. One that is completing has processes yet."""
        return "queued" if self.state in _WAITING else "running"


def look(name: str) -> list[Seen]:
    """Jobs of this name, of every user and partition, those that are just over too.

    Raises :class:`UnreachableError`. Never asks by id (``-j``): squeue fails for those that it has forgotten.
    """
    answer = ask("squeue", "-a", "-r", "-h", "-t", "all", "-n", name, "-o", "%i|%T|%r|%N|%k")
    if answer.code:
        raise UnreachableError(f"squeue cannot tell what stands: {answer.error or f'exit code {answer.code}'}")
    fields = (line.split("|", 4) for line in answer.out.splitlines() if line.count("|") >= 4)
    return [Seen(job, state, "" if reason == "None" else reason, *rest) for job, state, reason, *rest in fields]
