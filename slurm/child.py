"""A process of our own: told of the signals that reach us, never outliving us, and with the last it said kept."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

PASSED = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGUSR2: signal.SIGUSR1,
}
"""What a child is sent for what we hear. It never listens to USR2 itself: submitit has that one for its own."""

TAIL_LINES, TAIL_BYTES = 40, 8192
STOP_GRACE_S = 60.0
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: a process that just forked must not


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or the name of the signal that killed it; ``tail`` is the last it wrote.

    ``heard`` names the signals that reached us meanwhile, in order: whoever starts child after child stops then.
    """

    exit_code: int | None
    signal: str | None
    tail: str
    seconds: float
    heard: tuple[str, ...] = ()


def run(
    command: Sequence[str], log: Path, environment: Mapping[str, str], on_start: Callable[[int], None] | None = None
) -> Ended:
    """Run a command to its end; ``on_start`` is called with its process id. See :class:`Child`.

    >>> run(["sh", "-c", "exit 3"], Path(os.devnull), {}).exit_code
    3
    """
    child = Child(command, log, environment)
    pid = child.start()
    try:
        if on_start is not None:
            on_start(pid)
        return child.wait()
    finally:
        child.stop()


class Child:
    """A command whose output is appended to ``log``; ``environment`` is added to ours.

    Signals to stop that reach us are passed on, each time. Not so in a step of SLURM, which signals every process of
    the step itself: the child would hear each twice, and twice means at once. The child ignores USR2; it is passed on
    as USR1 where nobody listens to it here. Submitit does, and its ``checkpoint`` may call :meth:`stop` while
    :meth:`wait` waits.

    The child is killed when the thread that started it ends, also by SIGKILL (Linux only); what it started itself is
    killed when it ends. Raises ``OSError`` for a command or a log that cannot be opened.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.command, self.log, self.environment = list(command), log, dict(environment)
        self.heard: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._ended: Ended | None = None
        self._everyone_hears = "SLURM_STEP_ID" in os.environ

    def start(self) -> int:
        """Begin, and listen to signals from now on; the process id."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._listen()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)
        try:
            with self.log.open("ab") as output:
                self._offset = output.tell()
                self._started = time.monotonic()
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.environment},
                    process_group=0,  # or a terminal's Ctrl-C would reach it twice
                    preexec_fn=_Birth(os.getpid(), mask - set(PASSED)),
                )
        except BaseException:
            self._listen_no_more()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self._process.pid

    def wait(self) -> Ended:
        """Wait for its end, however long."""
        process = self._begun()
        with suppress(ChildProcessError):  # a signal's handler called stop(), or this is the second call
            # Without the lock that Popen.wait() holds: a signal's handler that calls stop() would never get it.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return self._end()

    def stop(self, grace_s: float = STOP_GRACE_S) -> Ended | None:
        """End it with SIGTERM, and after the grace with SIGKILL; nothing where it is over. None: it never began."""
        if self._process is None:
            return None
        if not self._over():
            self.send(signal.SIGTERM)
            deadline = time.monotonic() + grace_s
            while not self._over() and time.monotonic() < deadline:
                time.sleep(0.02)
            self.send(signal.SIGKILL)
        return self._end()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there to hear it."""
        if self._process is not None and not self._over():
            os.kill(self._process.pid, number)

    def _begun(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError(f"{self.command[0]} was not started: call start() first")
        return self._process

    def _over(self) -> bool:
        process = self._begun()
        if process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True

    def _end(self) -> Ended:
        process = self._begun()
        if process.returncode is None:  # not collected, so its number is no other's
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # who is left of those it started, holding memory or a GPU
        code = process.wait()
        self._listen_no_more()
        if self._ended is None:
            self._ended = Ended(
                exit_code=code if code >= 0 else None,
                signal=signal.Signals(-code).name if code < 0 else None,
                tail=self._tail(),
                seconds=time.monotonic() - self._started,
                heard=tuple(self.heard),
            )
        return self._ended

    def _tail(self) -> str:
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._offset, end - TAIL_BYTES))
            written = file.read(TAIL_BYTES)
        return "\n".join(written.decode(errors="replace").splitlines()[-TAIL_LINES:])

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python hears signals in the main thread only
        for number in PASSED:
            nobody_listens = signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN)
            if number != signal.SIGUSR2 or nobody_listens:
                self._before[number] = signal.signal(number, self._pass_on)

    def _listen_no_more(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        heard = signal.Signals(number)
        self.heard.append(heard.name)
        if heard == signal.SIGUSR2 or not self._everyone_hears:
            self.send(PASSED[heard])


@dataclass(frozen=True)
class _Birth:
    """What a child does before it becomes the command. Signals are blocked until it is ready for them."""

    parent: int
    mask: set[signal.Signals | int]

    def __call__(self) -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # stays ignored in the command
        die_with_parent(self.parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent (the thread that started it) ends. Linux only; elsewhere nothing."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked
            os.kill(os.getpid(), signal.SIGKILL)
