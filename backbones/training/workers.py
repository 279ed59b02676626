"""Processes that load items ahead of their use; one that dies or hangs is noticed and what it was at is named."""

import atexit
import math
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NamedTuple

import torch

from backbones.training.shared_memory import pack, unpack
from backbones.training.stream import Stream

CHUNK = 64
"""Items of a task at most, so that what a worker is ahead of the others stays small."""
TASKS = 8
"""Of a micro-batch for each worker at most, whatever its size: they queue in a pipe of limited length."""
AHEAD = 2
"""Micro-batches under way besides the one in use; at least as many tasks for every worker."""
LOOK_SECONDS = 1.0
"""How often a worker that is waited for is looked at, and how soon one without a parent ends."""
HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
"""What a terminal or a scheduler sends to all processes: the parent answers, and ends its workers when it is done."""
NOTHING = -1


class Wanted(NamedTuple):
    """The rows of one micro-batch, in order, and the epoch they are read in."""

    epoch: int
    rows: tuple[int, ...]


class WorkerLost(RuntimeError):  # noqa: N818 - it says what happened
    """A loading process ended by itself; the message says by what, and which item it was at."""


class LoadingStalled(TimeoutError):  # noqa: N818
    """A loading process was at one item for longer than allowed; the message names the item."""


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    progress: Any
    """Shared: the row it is at (or :data:`NOTHING`), and how many it has begun."""


class Workers:
    """``count`` processes for one stream; a context manager that leaves none behind."""

    def __init__(self, stream: Stream, count: int, stall_seconds: float) -> None:
        self.stream, self.stall_seconds = stream, stall_seconds
        self._workers: list[_Worker] = []
        self._count, self._next, self._under_way = count, 0, 0

    def __enter__(self) -> "Workers":
        atexit.register(self._end)
        # Forked, they have the stream without its being copied, and the one thread they use is theirs.
        linux = sys.platform == "linux"
        context = multiprocessing.get_context("fork") if linux else multiprocessing.get_context("spawn")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # which a child inherits
        try:
            for _ in range(self._count):
                ours, theirs = context.Pipe()
                progress = context.RawArray("q", [NOTHING, 0])
                arguments = (self.stream, theirs, progress, os.getpid())
                process = context.Process(target=_work, args=arguments, name="bob-loader", daemon=True)
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours, progress))
        except BaseException:
            self._end()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def load(self, wanted: Iterable[Wanted]) -> Iterator[list[Any]]:
        """The items of each micro-batch, in order.

        Raises what the stream raised, :class:`WorkerLost` and :class:`LoadingStalled`, when it is that item's turn.
        """
        waiting: deque[list[_Worker]] = deque()
        for each in wanted:
            waiting.append(list(self._submit(each)))
            if len(waiting) > AHEAD and self._under_way - len(waiting[0]) >= AHEAD * self._count:
                yield self._collected(waiting.popleft())
        while waiting:
            yield self._collected(waiting.popleft())

    def _submit(self, wanted: Wanted) -> Iterator[_Worker]:
        """Deal the rows out, a chunk to each worker in turn; who has which, in order."""
        share = math.ceil(len(wanted.rows) / self._count)
        size = min(share, max(CHUNK, math.ceil(share / TASKS)))
        for start in range(0, len(wanted.rows), size):
            worker = self._workers[self._next % self._count]
            self._next += 1
            self._under_way += 1
            try:
                worker.connection.send((wanted.epoch, wanted.rows[start : start + size]))
            except OSError as error:
                raise self._lost(worker) from error
            yield worker

    def _collected(self, tasks: list[_Worker]) -> list[Any]:
        return [item for worker in tasks for item in self._received(worker)]

    def _received(self, worker: _Worker) -> list[Any]:
        self._await(worker)
        try:
            answer = worker.connection.recv()
            memory = None if isinstance(answer, Exception) else recv_handle(worker.connection)
        except (EOFError, ConnectionResetError) as error:
            raise self._lost(worker) from error
        if memory is None:
            raise answer
        self._under_way -= 1
        return unpack(memory, answer)

    def _await(self, worker: _Worker) -> None:
        """Time counts in looks, not by the clock: a job that was suspended as a whole has not stalled."""
        look = min(LOOK_SECONDS, self.stall_seconds)
        waited, begun = 0.0, worker.progress[1]
        while not (ready := wait([worker.connection, worker.process.sentinel], look)):
            waited = waited + look if worker.progress[1] == begun else 0.0
            begun = worker.progress[1]
            if waited >= self.stall_seconds:
                raise LoadingStalled(
                    f"nothing came of {self._at(worker)} for {self.stall_seconds:g} s; look at the disk or network it "
                    "is read from, and at the image itself (stall_seconds allows more)"
                )
        if worker.connection not in ready:
            raise self._lost(worker)

    def _lost(self, worker: _Worker) -> WorkerLost:
        worker.process.join(LOOK_SECONDS)
        code = worker.process.exitcode
        by = f"signal {-code} ({signal.Signals(-code).name})" if code is not None and code < 0 else f"exit code {code}"
        advice = "; the system kills so when memory is out: take fewer workers or smaller device batches"
        return WorkerLost(
            f"a loading process ended with {by} at {self._at(worker)}{advice if code == -signal.SIGKILL else ''}"
        )

    def _at(self, worker: _Worker) -> str:
        row = worker.progress[0]
        return "no item" if row == NOTHING else f"item {row} ({self.stream.names[row]!r})"

    def _end(self) -> None:
        """They hold nothing that is worth an orderly end, and one that hangs would not hear of it."""
        atexit.unregister(self._end)
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers = []


def load_item(stream: Stream, row: int, epoch: int) -> Any:
    """One item; an error says in a note which it was."""
    try:
        return stream.load(row, epoch)
    except Exception as error:
        error.add_note(f"while loading item {row} ({stream.names[row]!r}) of epoch {epoch}")
        raise


def _work(stream: Stream, connection: Connection, progress: Any, parent: int) -> None:
    """The life of a worker: as long as its parent's."""
    torch.set_num_threads(1)
    while (task := _next_task(connection, parent)) is not None:
        epoch, rows = task
        try:
            descriptor, sizes = pack([_begun(stream, row, epoch, progress) for row in rows])
        except Exception as error:  # whatever it is belongs to who asked
            connection.send(_portable(error))
            continue
        progress[0] = NOTHING
        try:
            connection.send(sizes)
            send_handle(connection, descriptor, parent)
        except OSError:  # nobody is there any more
            return
        os.close(descriptor)


def _begun(stream: Stream, row: int, epoch: int, progress: Any) -> Any:
    progress[0] = row
    progress[1] += 1
    return load_item(stream, row, epoch)


def _next_task(connection: Connection, parent: int) -> tuple[int, tuple[int, ...]] | None:
    while not connection.poll(LOOK_SECONDS):
        if os.getppid() != parent:
            return None
    try:
        task: tuple[int, tuple[int, ...]] = connection.recv()
    except (EOFError, ConnectionResetError):
        return None
    return task


def _portable(error: Exception) -> Exception:
    """The error itself where it can be pickled and back, else its words."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        same = pickle.loads(pickle.dumps(error))
        if type(same) is type(error):
            return error
    except Exception:  # exceptions with arguments of their own often cannot be rebuilt
        pass
    words = RuntimeError(f"{type(error).__name__}: {error}")
    for note in error.__notes__:
        words.add_note(note)
    return words
