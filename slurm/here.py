"""Run jobs one after the other in this process; a job that fails never stops the others."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """Something to call, with the name people know it by."""

    name: str
    call: Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a job: ``error`` is None when it ran through, ``trace`` the traceback when it did not."""

    name: str
    error: Exception | None = None
    trace: str = ""


def launch(jobs: Iterable[Job]) -> Iterator[Outcome]:
    """Call each job in order and yield what became of it. Interrupts (no ``Exception``) pass through.

    >>> [type(outcome.error).__name__ for outcome in launch([Job("a", list), Job("b", lambda: 1 / 0)])]
    ['NoneType', 'ZeroDivisionError']
    """
    for job in jobs:
        try:
            job.call()
        except Exception as error:
            yield Outcome(job.name, error, traceback.format_exc())
        else:
            yield Outcome(job.name)
