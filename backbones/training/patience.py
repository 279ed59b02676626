"""Signals wait for the end of an update, so that what a checkpoint keeps is never half a step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Patience:
    """Holds a first signal back; a second one passes at once, and ``hurried`` says so, unless ``alone`` is False:
    processes of a group are sent the same signal by several (a scheduler, a launcher), and none may leave before all.

    A signal goes to whoever listened before (``bob`` turns it into an exception); ignored ones stay ignored.
    Outside the main thread nothing is held, for signals only ever interrupt the main one.
    """

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.pending: int | None = None
        self.hurried = False
        self._before: dict[int, object] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back in this block and pass on at its end what came; inside another such block, do nothing."""
        if self._before or threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        self._before = {number: signal.signal(number, self._hold) for number in heard}
        try:
            yield
        finally:
            self._restore()
        if self.pending is not None:
            self.deliver(self.pending)

    def deliver(self, number: int) -> None:
        """Hold nothing any more, and raise this signal for whoever listened before."""
        self.pending = None
        self._restore()
        signal.raise_signal(number)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.pending is None:
            self.pending = number
        elif self.alone:
            self.hurried = True
            self.deliver(self.pending)

    def _restore(self) -> None:
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # whatever was there
