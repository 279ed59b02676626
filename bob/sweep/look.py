"""One look at a sweep: what the files of its store say at this moment."""

from collections.abc import Collection
from pathlib import Path

from bob.sweep.census import Seen, troubles_of
from bob.sweep.report import Report, report
from bob.sweep.roll import Roll, read_roll
from results.attempts import Attempt
from results.index import short_lines
from results.record import Record
from results.store import Store
from slurm.journal import Journal

JOURNAL = "journal.jsonl"
"""What :class:`slurm.cluster.Cluster` keeps in a sweep's folder; it is not there where no cluster was given jobs."""

BUDGET_S = 1.0
"""Longest time spent on reading records that are not in the index; the next look goes on with the rest."""


def look(store: Store, folder: Path) -> tuple[Roll, Report]:
    """The roll of a sweep and what has become of it."""
    roll = read_roll(folder)
    keys = [cell.key for cell in roll.cells]
    seen = see(store, folder, keys)
    ours = seen.done & set(keys)
    lines = short_lines(store.root, [*ours, *(seen.done - ours)], BUDGET_S)
    return roll, report(roll, seen, lines, list(troubles_of(keys, seen)))


def see(store: Store, folder: Path, keys: Collection[str]) -> Seen:
    """What the store and the sweep's folder say of these cells. Claims come last: what has just begun is there then."""
    done = store.done_keys()
    tried = store.attempted_keys().intersection(keys) - done
    attempts = {key: found for key in tried if (found := store.attempts(key))}
    failed = store.failed_keys().intersection(keys) - attempts.keys()
    attempts |= {record.key: [_as_attempt(record)] for record in store.failures(failed)}
    ages = {attempt.key: age_s for attempt, age_s in store.running()}
    submissions = Journal(folder / JOURNAL).submissions().values()
    return Seen(done, attempts, ages, {key for each in submissions for job in each.units for key in job})


def _as_attempt(failure: Record) -> Attempt:
    """A failure whose attempt left no trace, as one of an older release."""
    assert failure.error is not None
    created = failure.provenance.created
    return Attempt(
        key=failure.key,
        number=0,
        token="",
        started=created,
        node="unknown",
        machine="",
        pid=0,
        ended=created,
        cause="error" if failure.error.step is None else "diverged",
        message=f"{failure.error.kind}: {failure.error.message}",
    )
