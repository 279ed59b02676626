"""A SLURM cluster: parcels become arrays of jobs through submitit; what stands is what squeue says, and nothing else.

FOLDER/journal.jsonl       what was submitted (see journal.py)
FOLDER/jobs/SUBMISSION/    an array's script, pickles and logs (see script.py)
FOLDER/jobs/lock           held by the one launcher that looks and submits
"""

import re
import secrets
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slurm.job_log import last_words
from slurm.journal import Journal
from slurm.launch_lock import LaunchLock
from slurm.parcel import Parcel
from slurm.place import End, Standing, UnreachableError, Work
from slurm.profile import Profile
from slurm.resources import Resources
from slurm.sacct import Accounting, Booked
from slurm.script import write_array
from slurm.squeue import Seen, look
from slurm.tools import ask

SBATCH_S = 300.0
"""Of an overloaded controller sbatch itself asks again for two minutes."""

READING_S = 3.0
"""Spent in one call on logs, where accounting does not tell how jobs ended."""

BOOKING_S = 120.0
"""So much later than the queue accounting may know of an end; then it is not asked again."""

_SILENT = re.compile(r"unable to contact|timed out|connect|communication|not responding|zero bytes", re.I)


@dataclass(frozen=True)
class _Array:
    """Written and about to be submitted."""

    folder: Path
    parcels: tuple[Parcel, ...]
    resources: Resources
    script: Path


class Cluster:
    """One sweep's jobs there. ``environment`` is exported in every job, over what the profile's setup lines set.

    ``folder`` is the sweep's, on a file system that every node sees. Jobs call submitit's own entry with the pickled
    work. A parcel is one element of an array; equal resources make an array, cut where the cluster bounds it.
    ``parallel`` of the profile is shared out among the sweep's arrays, anew at each :meth:`submit` (of nothing, too).
    """

    def __init__(self, name: str, folder: Path, profile: Profile, environment: Mapping[str, str] | None = None) -> None:
        if "%" in str(folder := Path(folder).absolute()):
            raise ValueError(f"{folder}: SLURM takes '%' in the path of a log for a pattern; keep the store elsewhere")
        self.job_name = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
        self.folder, self.profile, self.environment = folder, profile, dict(environment or {})
        self.lock = LaunchLock(folder / "jobs" / "lock")
        self.journal = Journal(folder / "journal.jsonl")
        self._accounting = Accounting()
        self._ends: dict[str, Booked] = {}
        self._logs: set[str] = set()  # jobs that are known to have one
        self._unbooked: dict[str, float] = {}  # until when accounting is asked about a job that is over

    def submit(self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work]) -> None:
        """As :class:`Place`; under the sweep's lock, for another launcher may do the same at this moment.

        Raises :class:`UnreachableError` where the scheduler does not answer: what it had taken before stays, and is
        found again by the next call.
        """
        with self.lock:
            standing = self.standing()
            before = Counter(job.partition("_")[0] for job in {each.job for each in standing.values()})
            arrays = self._write(_without(parcels, standing), work, before)
            try:
                self._hand_over_all(arrays, list(before))
            finally:
                begun = self.journal.submissions()
                for array in arrays:
                    if array.folder.name not in begun:
                        shutil.rmtree(array.folder, ignore_errors=True)

    def standing(self) -> Mapping[str, Standing]:
        """As :class:`Place`. A job whose launcher died before it knew the id is found by its comment."""
        found: dict[str, Standing] = {}
        for seen, units in self._jobs():
            if not seen.over:
                stands = Standing(seen.job, seen.standing, seen.reason)
                for unit in units:
                    if stands.state == "running" or unit not in found:
                        found[unit] = stands
        return found

    def ends(self) -> Mapping[str, End]:
        """As :class:`Place`; takes seconds at most, and nothing is said where squeue does not answer."""
        # What was submitted is read before the queue: what is submitted after would look as if it were over.
        submitted = [
            (folder := self.folder / "jobs" / each.name, each.job or _job_of_files(folder), each.units)
            for each in self.journal.submissions().values()
        ]
        try:
            seen = {each.job: each for each, _ in self._jobs()}
        except UnreachableError:
            return {}
        latest: dict[str, tuple[str, Path]] = {}
        for folder, array, its_units in submitted:
            for index, units in enumerate(its_units if array else ()):
                job = f"{array}_{index}"
                if job not in seen or seen[job].over:
                    latest |= dict.fromkeys(units, (job, folder / f"{job}_0_log.out"))
        for job in [job for job in self._unbooked if job in seen and not seen[job].over]:
            del self._unbooked[job]  # requeued by hand after its end
            self._ends.pop(job, None)
        self._learn(dict(latest.values()), seen)
        ends = {job: self._end(job, log) for job, log in dict(latest.values()).items()}
        return {unit: ends[job] for unit, (job, _) in latest.items()}

    def cancel(self, units: Collection[str] | None = None) -> int:
        """As :class:`Place`; the whole job of a unit ends, with the other units in it. Raises ``UnreachableError``."""
        wanted = None if units is None else set(units)
        arrays: dict[str, dict[str, bool]] = {}
        for seen, its_units in self._jobs():
            if not seen.over:
                chosen = wanted is None or not wanted.isdisjoint(its_units)
                arrays.setdefault(seen.job.partition("_")[0], {})[seen.job] = chosen
        told = []
        for array, jobs in arrays.items():
            told += [array] if all(jobs.values()) else [job for job, chosen in jobs.items() if chosen]
        for first in range(0, len(told), 500):
            answer = ask("scancel", *told[first : first + 500])
            if answer.code:
                raise UnreachableError(f"scancel: {answer.error}")
        return sum(sum(jobs.values()) for jobs in arrays.values())

    def _jobs(self) -> Iterator[tuple[Seen, tuple[str, ...]]]:
        """Ours in the queue, with their units. Raises :class:`UnreachableError`."""
        queue = look(self.job_name)
        by_comment = self.journal.submissions()
        by_job = {each.job: each for each in by_comment.values() if each.job}
        for seen in queue:
            array, _, index = seen.job.partition("_")
            submission = by_comment.get(seen.comment) or by_job.get(array)
            if submission is None or not index.isdecimal() or int(index) >= len(submission.units):
                continue  # another's of the same name
            if not submission.job:
                self.journal.accept(submission.name, array)
                submission.job = array
            yield seen, submission.units[int(index)]

    def _write(
        self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work], before: Mapping[str, int]
    ) -> list[_Array]:
        """An array for each set of equal resources, or several where the cluster bounds their size.

        ``before`` are arrays that stand, with how many jobs of them do: they share with the new ones what may run.
        """
        limit = _largest_array()
        alike: dict[Resources, list[Parcel]] = {}
        for parcel in parcels:
            alike.setdefault(parcel.resources, []).append(parcel)
        sets = [tuple(each[at : at + limit]) for each in alike.values() for at in range(0, len(each), limit)]
        given = shares([*before.values(), *map(len, sets)], self.profile.parallel)
        for job, parallel in zip(before, given, strict=False):
            ask("scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={parallel}")
        arrays: list[_Array] = []
        for those, parallel in zip(sets, given[len(before) :], strict=True):
            folder = self.folder / "jobs" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
            try:
                script = write_array(
                    folder, [work(each) for each in those], those[0].resources, self.profile,
                    name=self.job_name, parallel=parallel, environment=self.environment,
                )  # fmt: skip
            except BaseException:
                for each in (folder, *(array.folder for array in arrays)):
                    shutil.rmtree(each, ignore_errors=True)
                raise
            arrays.append(_Array(folder, those, those[0].resources, script))
        return arrays

    def _hand_over_all(self, arrays: Sequence[_Array], before: Sequence[str]) -> None:
        """Those that may be refused first, so that nothing has begun when they are.

        Where there are more arrays than jobs may run, counting those that stood before, each waits for an earlier one.
        """
        doubts = {each.resources: _doubt(each) for each in {array.resources: array for array in arrays}.values()}
        jobs = list(before)
        for array in sorted(arrays, key=lambda each: not doubts[each.resources]):
            over = len(jobs) - self.profile.parallel
            after = [f"--dependency=afterany:{jobs[over]}"] if over >= 0 else []
            try:
                jobs.append(self._hand_over(array, after))
            except ValueError as error:
                if ours := jobs[len(before) :]:
                    ask("scancel", *ours)
                count = sum(len(each.parcels) for each in arrays)
                raise ValueError(f"{error}. Nothing of the {count} that were asked for is left in the queue") from None
            if doubt := doubts.pop(array.resources, ""):
                warnings.warn(f"SLURM took {_asked(array)}, but they may wait for ever: {doubt}", stacklevel=4)

    def _hand_over(self, array: _Array, options: Sequence[str]) -> str:
        """The scheduler's id of it. Raises ``ValueError`` where it is refused."""
        name = array.folder.name
        self.journal.intend(name, [parcel.units for parcel in array.parcels])
        answer = ask(
            "sbatch", "--parsable", *options, str(array.script), seconds=SBATCH_S, holding=[self.lock.descriptor]
        )
        number = re.search(r"^(\d+)(?:;|$)", answer.out, re.M)
        job = number[1] if number and not answer.code else self._found(name)
        if job:
            self.journal.accept(name, job)
            return job
        if not answer.code or _SILENT.search(answer.error):
            raise UnreachableError(f"sbatch: {answer.error or answer.out}")
        self.journal.refuse(name, answer.error)
        raise ValueError(_refusal(array, answer.error))

    def _found(self, name: str) -> str:
        """The id of what was submitted as this, by the queue; empty if it is not there."""
        return next((each.job.partition("_")[0] for each in look(self.job_name) if each.comment == name), "")

    def _learn(self, jobs: Mapping[str, Path], seen: Mapping[str, Seen]) -> None:
        """How these ended: what accounting has booked, else what the queue still has, else what their logs say."""
        now = time.monotonic()
        late = {job for job in jobs if now < self._unbooked.setdefault(job, now + BOOKING_S)}
        booked = self._accounting.ends({job.partition("_")[0] for job in late})
        for job in late & booked.keys():
            self._ends[job], self._unbooked[job] = booked[job], now
        for job in jobs.keys() - self._ends.keys():
            if job in seen:
                self._ends[job] = Booked(seen[job].state, None, seen[job].node)
            elif time.monotonic() < now + READING_S and (words := last_words(jobs[job])):
                self._ends[job] = words

    def _end(self, job: str, log: Path) -> End:
        booked = self._ends.get(job)
        state, code, node = (booked.state, booked.exit_code, booked.node) if booked else ("unknown", None, "")
        if job not in self._logs and log.exists():
            self._logs.add(job)
        return End(job, state, code, node, str(log) if job in self._logs else "")


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """A total shared out fairly: nobody gets more than its size, nobody less than one.

    >>> shares([3, 1000, 1000], 100)
    [3, 48, 49]
    """
    given, left = [0] * len(sizes), total
    for done, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        given[index] = min(sizes[index], max(1, left // (len(sizes) - done)))
        left -= given[index]
    return given


def _without(parcels: Sequence[Parcel], taken: Collection[str]) -> list[Parcel]:
    """Without units that are taken, or in an earlier parcel."""
    left, given = [], set(taken)
    for parcel in parcels:
        units = tuple(unit for unit in dict.fromkeys(parcel.units) if unit not in given)
        given.update(units)
        if units:
            left.append(Parcel(units, parcel.resources))
    return left


def _largest_array() -> int:
    """One less than MaxArraySize, which bounds the index. Raises :class:`UnreachableError`."""
    answer = ask("scontrol", "show", "config")
    if answer.code:
        raise UnreachableError(f"scontrol: {answer.error}")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer.out, re.M)
    return max(1, int(found[1]) - 1) if found else 1000


def _doubt(array: _Array) -> str:
    """What SLURM has against it beforehand. Only a hint: of what it would queue for better times it says the same."""
    answer = ask("sbatch", "--test-only", str(array.script))
    return answer.error.splitlines()[-1] if answer.code and answer.error else ""


def _asked(array: _Array) -> str:
    asked = ", ".join(f"{name}={value}" for name, value in array.resources if value is not None)
    return f"{len(array.parcels)} job{'s' * (len(array.parcels) != 1)} of {asked}"


def _refusal(array: _Array, message: str) -> str:
    """SLURM's message, what was asked for, and what to do."""
    if "limit" in message:
        advice = "raise job_min of the profile, so that fewer jobs do more each"
    else:
        advice = "change the profile (sinfo lists partitions, sacctmgr show assoc accounts and QOS)"
    return f"SLURM refuses {_asked(array)}: {message}; {advice}"


def _job_of_files(folder: Path) -> str:
    """The id of an array whose launcher was killed before it knew, by the names of its jobs' files."""
    return next((name[1] for path in folder.glob("*_submitted.pkl") if (name := re.match(r"(\d+)_", path.name))), "")
