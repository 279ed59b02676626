"""Watch over work till none is left: look, submit what nobody has, wait. It may be killed, and begun anew elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from slurm.parcel import Parcel, Unit
from slurm.parcels import pack, shared_out
from slurm.place import Place, Standing, UnreachableError, Work

SHORT_S = 60.0
"""A job that was seen running for less did nothing that counts; some of them in a row say that something is broken."""

SHORT_ENDS = 5
LONGEST_WAIT_S = 300.0
TURNS = ("", "None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime", "no GPU has room")
"""Reasons to wait that pass by themselves."""

NAMED = 3
"""Units that a line names of those it counts."""


@dataclass(frozen=True)
class Pace:
    """How often to look, how long jobs should be, and how often a unit is submitted in all before it is left alone.

    ``at_once``: about how many jobs a place of few workers runs at once, so that each of them gets some, and jobs
    become shorter where little is left. One: they are as long as they may be.
    """

    poll_s: float = 10.0
    job_min: float = 30.0
    at_once: int = 1
    submissions: int = 100


def supervise(
    place: Place,
    units: Sequence[Unit],
    unfinished: Callable[[], Collection[str]],
    work: Callable[[Parcel], Work],
    say: Callable[[str], None],
    *,
    pace: Pace | None = None,
    given_up: Callable[[str], str | None] = lambda unit: None,
    working: Callable[[], Collection[str]] = tuple,
    lock: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Mapping[str, str]:
    """Return when every unit is finished or given up, and none of them stands; the given up, with why.

    ``unfinished`` is asked often and is what counts; ``work(parcel)`` is what a job calls. ``given_up(unit)`` says why
    a unit is not to be tried again; ``working`` names units that somebody works on who need not be at this place: they
    are waited for, not submitted. ``lock`` is held around a look and what is submitted after it. While the place or
    the store cannot be reached (:class:`UnreachableError`, ``OSError``), nothing is concluded. Raises the other errors
    of ``place.submit``. An interrupt passes through: what stands goes on where the place keeps it.
    """
    watch = _Watch(place, units, say, pace or Pace(), given_up)
    while True:
        try:
            with lock():
                standing, busy = place.standing(), set(working())
                left = set(unfinished())  # after those: a unit that finishes in between is no lost one
                parcels = watch.next_parcels(standing, left, busy)
                if parcels:
                    place.submit(parcels, work)
                    watch.submitted(parcels)
            watch.reached()
            if not parcels and not watch.waiting(standing, left, busy):
                return watch.gone
        except (UnreachableError, OSError) as error:
            watch.unreached(error)
        time.sleep(watch.pace.poll_s)


class _Watch:
    """What one supervisor remembers. It is never needed to be right: another starts with nothing."""

    def __init__(
        self,
        place: Place,
        units: Sequence[Unit],
        say: Callable[[str], None],
        pace: Pace,
        given_up: Callable[[str], str | None],
    ) -> None:
        self.place, self.units, self.say, self.pace, self.given_up = place, units, say, pace, given_up
        self.gone: dict[str, str] = {}
        self.silent_since: float | None = None
        self._names = {unit.name for unit in units}
        self._submissions: Counter[str] = Counter()
        self._short: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._stood: set[str] = set()
        self._running_since: dict[str, float] = {}
        self._told = set(TURNS)

    def next_parcels(self, standing: Mapping[str, Standing], left: set[str], busy: set[str]) -> list[Parcel]:
        """What to submit now."""
        now = time.monotonic()
        self._see_ends({name for name in self._stood if name not in standing and name in left}, busy, now)
        self._see_standing(standing, now)
        ready = [
            unit
            for unit in self.units
            if unit.name in left
            and unit.name not in standing
            and unit.name not in busy
            and self._not_before.get(unit.name, now) <= now
            and not self._give_up(unit.name)
        ]
        return pack(ready, shared_out(ready, self.pace.job_min, self.pace.at_once))

    def submitted(self, parcels: Sequence[Parcel]) -> None:
        """These were handed over."""
        names = [name for parcel in parcels for name in parcel.units]
        again = sum(self._submissions[name] > 0 for name in names)
        self._submissions.update(names)
        self._stood.update(names)
        what = f"{_count(len(names), 'unit')} in {_count(len(parcels), 'job')}"
        self.say(f"submitted {what}, {again} again" if again else f"submitted {what}")

    def waiting(self, standing: Mapping[str, Standing], left: set[str], busy: set[str]) -> bool:
        """Whether a unit of ours stands, is worked on, or will be submitted later."""
        return any(
            unit.name in standing or (unit.name in left and (unit.name in busy or not self._give_up(unit.name)))
            for unit in self.units
        )

    def reached(self) -> None:
        """The place and the store answered."""
        if self.silent_since is not None:
            self.say(f"reached again after {time.monotonic() - self.silent_since:.0f} s")
            self.silent_since = None

    def unreached(self, error: Exception) -> None:
        """They did not; said once."""
        if self.silent_since is None:
            self.silent_since = time.monotonic()
            self.say(f"waiting, since nothing can be concluded now: {error}")

    def _see_standing(self, standing: Mapping[str, Standing], now: float) -> None:
        ours = self._names & standing.keys()
        running = {name for name in ours if standing[name].state == "running"}
        self._running_since = {name: self._running_since.get(name, now) for name in running}
        self._stood = ours
        self._tell_reasons([standing[name].reason for name in ours if standing[name].state == "queued"])

    def _tell_reasons(self, reasons: Sequence[str]) -> None:
        """Why jobs wait, each reason once, unless it is their turn that they wait for: some would wait for ever."""
        for reason, count in Counter(reasons).items():
            if reason not in self._told:
                self._told.add(reason)
                self.say(f"{_count(count, 'unit')} will wait until this changes: {reason}")

    def _see_ends(self, names: set[str], busy: Collection[str], now: float) -> None:
        """Jobs that are over, of units that are not finished; later ones wait longer, for something may be broken."""
        if not names:
            return
        for name in names:
            ran_s = now - self._running_since.get(name, now)
            self._short[name] = 0 if ran_s >= SHORT_S or name in busy else self._short[name] + 1
            wait_s = self.pace.poll_s * 2 ** (self._short[name] - 2) if self._short[name] > 1 else 0.0
            self._not_before[name] = now + min(wait_s, LONGEST_WAIT_S)
        ends = self.place.ends()
        hows: dict[str, list[str]] = {}
        logs: dict[str, str] = {}
        for name in sorted(names):
            end = ends.get(name)
            how = "nothing known of how" if end is None else end.state
            if end is not None and end.exit_code is not None:
                how += f", exit code {end.exit_code}"
            if end is not None and end.node:
                how += f", on {end.node}"
            hows.setdefault(how, []).append(name)
            if end is not None and end.log:
                logs.setdefault(how, end.log)
        for how, those in hows.items():
            log = f"; log: {logs[how]}" if how in logs else ""
            self.say(f"{_count(len(those), 'unit')} unfinished after the end of the job ({how}): {_named(those)}{log}")

    def _give_up(self, name: str) -> bool:
        if name in self.gone:
            return True
        reason = self.given_up(name)
        if reason is None and self._short[name] >= SHORT_ENDS:
            reason = f"{SHORT_ENDS} jobs in a row ended within {SHORT_S:g} s and left it unfinished; see their logs"
        if reason is None and self._submissions[name] >= self.pace.submissions:
            reason = f"submitted {self.pace.submissions} times"
        if reason is not None:
            self.gone[name] = reason
            self.say(f"{name} is given up: {reason}")
        return reason is not None


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _named(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED:,} more" * (len(names) > NAMED)
