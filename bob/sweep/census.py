"""Where each cell of a sweep stands, from files alone: the roll, the records, the attempts. No scheduler is asked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from results.attempts import ATTEMPTS, FINAL, SPENT, WAITED, Attempt
from results.claims import LEASE_S


class State(StrEnum):
    """What a cell of a sweep is.

    ``QUEUED``: a scheduler was given it, as far as files tell; ``WAITING``: nobody has it. ``SILENT``: somebody began
    it and was not heard of for the lease. ``FAILED``: no launcher tries it again by itself.
    """

    DONE = "done"
    RUNNING = "running"
    QUEUED = "queued"
    WAITING = "waiting"
    FAILED = "failed"
    SILENT = "silent"


@dataclass(frozen=True)
class Seen:
    """What the store says. ``attempts`` are those at cells that are not done, oldest first.

    ``ages`` tells by key how many seconds ago the holder of a cell was last heard of. ``submitted`` are keys in jobs
    that a scheduler took.
    """

    done: AbstractSet[str]
    attempts: Mapping[str, Sequence[Attempt]]
    ages: Mapping[str, float]
    submitted: AbstractSet[str] = frozenset()


def state_of(key: str, seen: Seen) -> State:
    """What a cell is by now."""
    if key in seen.done:
        return State.DONE
    attempts = seen.attempts.get(key, ())
    if attempts and attempts[-1].cause is None:
        return State.RUNNING if seen.ages.get(key, float("inf")) < LEASE_S else State.SILENT
    if is_over(attempts):
        return State.FAILED
    kept = not attempts or attempts[-1].cause in WAITED  # after any other end the job is over, or does other cells
    return State.QUEUED if kept and key in seen.submitted else State.WAITING


def is_over(attempts: Sequence[Attempt]) -> bool:
    """Whether no launcher tries again by itself after these: the last end would come again, or it came too often."""
    counted = [each.cause for each in attempts if not each.forgiven]
    return counted[-1:] != [] and (counted[-1] in FINAL or sum(cause in SPENT for cause in counted) >= ATTEMPTS)


@dataclass(frozen=True)
class Trouble:
    """Why a cell has no record. ``over``: no launcher tries again by itself; ``said`` is the last line of its log."""

    key: str
    cause: str
    ended: str
    said: str
    over: bool


def troubles_of(keys: Iterable[str], seen: Seen) -> Iterator[Trouble]:
    """Of those of these cells that have no record, the latest end that was no mere waiting, be it over or not."""
    for key in keys:
        attempts = seen.attempts.get(key, ())
        if key in seen.done or not attempts or (last := attempts[-1]).cause in (None, *WAITED) or last.forgiven:
            continue
        lines = [line for line in last.tail.splitlines() if line.strip()]
        said = lines[-1] if lines else last.message
        yield Trouble(key, str(last.cause), last.ended or "", said, is_over(attempts))
