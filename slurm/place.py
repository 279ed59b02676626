"""A place that jobs run at: the contract of this machine's GPUs and of a cluster."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from slurm.parcel import Parcel

Work = Callable[[], Any]
"""What a job calls. It is pickled; it may have ``checkpoint(self) -> submitit.helpers.DelayedSubmission``."""


@dataclass(frozen=True)
class Standing:
    """Where a job that is not over stands. ``reason`` is the scheduler's own word for why it waits."""

    job: str
    state: Literal["queued", "running"]
    reason: str = ""


@dataclass(frozen=True)
class End:
    """What a place knows of a job that is over: its own word for how (NODE_FAIL, TIMEOUT, ...), where, and its log."""

    job: str
    state: str = "unknown"
    exit_code: int | None = None
    node: str = ""
    log: str = ""


class UnreachableError(RuntimeError):
    """The scheduler does not answer: what runs is not known, and nothing may be concluded or submitted."""


@runtime_checkable
class Place(Protocol):
    """Submits parcels, and says which units are in jobs that are not over. It never says that a unit is done."""

    def submit(self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work]) -> None:
        """Hand all parcels over; ``work(parcel)`` is what its job calls. Units that are standing are never given twice.

        Raises ``ValueError`` with the scheduler's own message where it refuses; then nothing is left half-submitted.
        """

    def standing(self) -> Mapping[str, Standing]:
        """By unit, the jobs that are queued or running. Raises :class:`UnreachableError`."""

    def ends(self) -> Mapping[str, End]:
        """By unit, its latest job that is over, as far as is known; slow or missing accounting makes it poorer."""

    def cancel(self, units: Collection[str] | None = None) -> int:
        """End the jobs of these units (None: all); how many jobs were told to end."""
