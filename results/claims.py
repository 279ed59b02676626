"""Claims: who works on a cell, settled by files alone, on one machine or on many that share a file system.

attempts/KEY/000001.json    the attempts at a cell; the last without an end is its holder's
claims/KEY.TOKEN.json       the same file by another name, while it is held: all who work, in one listing

Taking is ``link`` to the next number, which one process does and all others find done (NFS and Lustre hold to that).
Nobody compares clocks of two machines: a holder touches its file, and whoever waits measures the silence itself.
"""

import fcntl
import os
import tempfile
import threading
import time
import traceback
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from results.attempts import Attempt, Cause, Traces, begun
from results.unwritable import unwritable

LEASE_S, BEAT_S = 120.0, 10.0
_TRIES = 100
"""To make a folder and a file in it, before somebody who is done removes the folder, empty."""


class Claim:
    """One's own attempt at a cell, held until it is ended. ``earlier``: all others, oldest first, each with its end."""

    def __init__(self, attempt: Attempt, traces: Traces, mark: Path, lock: int) -> None:
        self.attempt, self.earlier = attempt, tuple[Attempt, ...]()
        self.mark, self._traces, self._lock = mark, traces, lock
        self._over = threading.Event()
        _held.add(self)

    @property
    def lost(self) -> bool:
        """Another has taken it over, for nothing was heard of this process: it was stopped, or its disk was away."""
        if self._over.is_set():
            return False
        return not self._is_mine() or self._traces.numbers(self.attempt.key)[-1] > self.attempt.number

    def end(self, cause: Cause, message: str = "", exit_code: int | None = None, tail: str = "") -> None:
        """Let go of the cell and say why. Of a cell done at the first attempt no trace is left.

        Where the trace cannot be written the next holder finds a dead process, and says so: no cell fails for it.
        """
        if self._over.is_set():
            return
        if cause == "done" and not self.earlier:
            self.withdraw()
            return
        with suppress(OSError):
            if self._is_mine():
                self._traces.rewrite(self.attempt.ended_by(cause, message, exit_code, tail))
        self._release()

    def withdraw(self) -> None:
        """Let go of the cell as if it had never been held."""
        if self._over.is_set():
            return
        with suppress(OSError):
            if self._is_mine():
                self._traces.remove(self.attempt)
            self._traces.tidy(self.attempt.key)
        self._release()

    def start_beating(self, beat_s: float) -> None:
        """Touch the file every so many seconds, by a thread of its own."""
        threading.Thread(target=self._beat, args=(beat_s,), name="bob-claim", daemon=True).start()

    def forget(self) -> None:
        """In a forked child: it is the parent's. A child that has the lock open would keep it when the parent dies."""
        if not self._over.is_set():
            self._over = threading.Event()  # the old one may be locked, by a thread that is not in the child
            self._over.set()
            os.close(self._lock)

    def _is_mine(self) -> bool:
        """Whether its number is still its own file, and not what a taker wrote of it."""
        return _is_one_file(self._lock, self._traces.path(self.attempt.key, self.attempt.number))

    def _beat(self, beat_s: float) -> None:
        while not self._over.wait(beat_s):
            with suppress(OSError):  # the file system is away for a while, or another has taken over
                os.utime(self.mark)

    def _release(self) -> None:
        self._over.set()
        _held.discard(self)
        with suppress(OSError):
            self.mark.unlink(missing_ok=True)
        os.close(self._lock)


class Claims:
    """Claims in the store at ``root``. ``machine`` tells kernels apart, for locks show who died on the same one only.

    A holder on another machine, or where files cannot be locked, is dead once nothing was heard of it for ``lease_s``
    by this process's own clock, from its first look on. Holders touch their file every ``beat_s``.
    """

    def __init__(
        self, root: Path, lease_s: float = LEASE_S, beat_s: float = BEAT_S, machine: str | None = None
    ) -> None:
        self._traces, self._marks = Traces(root / "attempts"), root / "claims"
        self._lease_s, self._beat_s = lease_s, beat_s
        self._machine = _kernel() if machine is None else machine
        self._heard: dict[tuple[str, int, str], tuple[tuple[int, int], float]] = {}

    @contextmanager
    def claim(self, key: str, reached: str = "") -> Iterator[Claim | None]:
        """A cell of one's own; None where somebody who lives has it. Without :meth:`Claim.end` it leaves no trace.

        ``reached`` is kept: what an attempt begins from, so that one can see whether the next has come further.
        Raises ``OSError`` naming the path where it cannot be written; then nothing of it is there.
        """
        try:
            claim = self._take(key, reached)
        except OSError as error:
            raise unwritable(error, error.filename2 or error.filename or str(self._marks)) from error
        if claim is None:
            yield None
            return
        try:
            yield claim
        except Exception as error:
            claim.end("error", str(error), tail="".join(traceback.format_exception_only(error)))
            raise
        except BaseException as stop:
            claim.end("stopped", " ".join([type(stop).__name__, *map(str, stop.args)]))
            raise
        claim.withdraw()

    def attempts(self, key: str) -> list[Attempt]:
        """All at a key, oldest first; only the last can be without an end."""
        found = self._traces.read(key)
        lost = {"cause": "lost"}
        return [each.model_copy(update=lost) if each.cause is None else each for each in found[:-1]] + found[-1:]

    def running(self) -> list[tuple[Attempt, float]]:
        """Attempts that nobody has ended, and the seconds since each was heard of, by the file system's clock."""
        now = file_system_time(self._marks)
        return [(attempt, max(0.0, now - heard)) for attempt, heard in self._unended()]

    def end_attempts(
        self,
        node: str,
        pid: int,
        cause: Cause,
        message: str = "",
        exit_code: int | None = None,
        tail: str = "",
        machine: str | None = None,
    ) -> list[str]:
        """End what a process that died was working on; the keys. ``machine`` is its kernel, None this one.

        What lives is left alone where that can be seen (on this machine); of another, the caller is believed.
        """
        machine = self._machine if machine is None else machine
        ended = []
        for attempt, _ in self._unended():
            if (attempt.node, attempt.pid, attempt.machine or machine) != (node, pid, machine):
                continue
            if attempt.machine != self._machine or self._death(attempt) is not None:
                self._bury(attempt.ended_by(cause, message, exit_code, tail))
                ended.append(attempt.key)
        return ended

    def forgive(self, key: str) -> None:
        """Attempts so far count no longer. One that has no end yet is not among them."""
        for attempt in self.attempts(key):
            if attempt.cause is not None and not attempt.forgiven:
                self._traces.rewrite(attempt.model_copy(update={"forgiven": True}))

    def clean(self, is_done: Callable[[str], bool]) -> None:
        """Remove what was left by who died while taking or ending a claim, or between a commit and the claim's end."""
        marked = list(self._marked())
        if not marked:
            return
        now = file_system_time(self._marks)
        for path, facts in marked:
            if facts.st_nlink == 1 and now - facts.st_mtime > self._lease_s:
                path.unlink(missing_ok=True)
        for attempt, heard in self._unended():
            here = attempt.machine == self._machine
            if is_done(attempt.key) and (self._death(attempt) if here else now - heard > self._lease_s):
                self._bury(attempt.ended_by("done"))
                if self._traces.numbers(attempt.key) == [attempt.number]:
                    self._traces.remove(attempt)
                    self._traces.tidy(attempt.key)

    def _take(self, key: str, reached: str) -> Claim | None:
        before = self._traces.read(key)
        deaths = {(each.number, each.token): self._death(each) for each in before if each.cause is None}
        if None in deaths.values():
            return None
        number = before[-1].number + 1 if before else 1
        claim = self._announce(begun(key, number, self._machine, reached))
        try:
            if self._link(claim) and self._succeed(claim, deaths):
                claim.start_beating(self._beat_s)
                return claim
        except BaseException:
            claim.withdraw()
            raise
        claim.withdraw()
        return None

    def _announce(self, attempt: Attempt) -> Claim:
        """A locked file that says who is coming."""
        self._marks.mkdir(parents=True, exist_ok=True)
        mark = self._mark_of(attempt)
        lock = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            attempt = attempt.model_copy(update={"machine": ""})
        claim = Claim(attempt, self._traces, mark, lock)
        try:
            # By another descriptor: NFS sends what a file holds when it is closed, and that of the lock stays open.
            mark.write_text(attempt.model_dump_json(), encoding="utf-8")
        except BaseException:
            claim.withdraw()
            raise
        return claim

    def _link(self, claim: Claim) -> bool:
        """Whether its number is its own: of all who are coming, one's."""
        path = self._traces.path(claim.attempt.key, claim.attempt.number)
        path.parent.parent.mkdir(exist_ok=True)
        for tries_left in reversed(range(_TRIES)):
            with suppress(FileExistsError):
                path.parent.mkdir()
            try:
                os.link(claim.mark, path)
            except FileNotFoundError:  # its folder was removed
                if not tries_left:
                    raise
                continue
            except FileExistsError:  # another's; or, over NFS, one's own, when an answer was lost and the call repeated
                pass
            break
        return _is_one_file(claim.mark, path)

    def _succeed(self, claim: Claim, deaths: Mapping[tuple[int, str], Cause | None]) -> bool:
        """Write down the ends of those who were found dead. False where somebody came who was not there before.

        For when a first attempt was done and removed, numbers began anew. Who sees another draws back: one does.
        """
        others = [each for each in self._traces.read(claim.attempt.key) if each.number != claim.attempt.number]
        earlier = []
        for each in others:
            if each.cause is None and (cause := deaths.get((each.number, each.token))) is not None:
                each = each.ended_by(cause)
                self._bury(each)
            if each.cause is None or each.number > claim.attempt.number:
                return False
            earlier.append(each)
        claim.earlier = tuple(earlier)
        return True

    def _death(self, attempt: Attempt) -> Cause | None:
        """How the holder of an attempt died; None while it lives, or as long as that is not certain."""
        try:
            file = self._traces.path(attempt.key, attempt.number).open("rb")  # which asks NFS for its times anew
        except FileNotFoundError:
            return None  # it is ending: the next look will show
        with file:
            if attempt.machine == self._machine:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: others who look do not see each other
                except BlockingIOError:
                    return None
                except OSError:
                    pass
                else:
                    return "killed"
            facts = os.fstat(file.fileno())
        return "lost" if self._is_silent(attempt, (facts.st_mtime_ns, facts.st_ctime_ns)) else None

    def _is_silent(self, attempt: Attempt, beat: tuple[int, int]) -> bool:
        who, now = (attempt.key, attempt.number, attempt.token), time.monotonic()
        if who not in self._heard or self._heard[who][0] != beat:
            self._heard[who] = beat, now
        return now - self._heard[who][1] >= self._lease_s

    def _bury(self, ended: Attempt) -> None:
        self._traces.rewrite(ended)
        self._mark_of(ended).unlink(missing_ok=True)

    def _mark_of(self, attempt: Attempt) -> Path:
        return self._marks / f"{attempt.key}.{attempt.token}.json"

    def _marked(self) -> Iterator[tuple[Path, os.stat_result]]:
        with suppress(FileNotFoundError), os.scandir(self._marks) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):  # older releases left KEY.lock
                    with suppress(FileNotFoundError):
                        yield Path(entry.path), entry.stat()

    def _unended(self) -> Iterator[tuple[Attempt, float]]:
        """Attempts that are claims, and when their file was touched. Of two names one is the number."""
        for path, facts in self._marked():
            if facts.st_nlink > 1:
                with suppress(FileNotFoundError, ValidationError):
                    yield Attempt.model_validate_json(path.read_bytes()), facts.st_mtime


_held: "weakref.WeakSet[Claim]" = weakref.WeakSet()


def _forget_all() -> None:
    for claim in list(_held):
        claim.forget()
    _held.clear()


os.register_at_fork(after_in_child=_forget_all)


def file_system_time(folder: Path) -> float:
    """Its own, for a machine's clock may be hours off. Nothing but a person's view and cleaning rests on it."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _is_one_file(one: Path | int, other: Path | int) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except OSError:  # it is gone; over NFS, also for who has it open
        return False


@cache
def _kernel() -> str:
    """What containers of one machine share, machines of one name do not, and a restart changes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{uuid.getnode():x}"
