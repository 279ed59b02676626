"""A signal to stop unwinds cleanly once; what is finished is kept, and the exit code says "run me again"."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_REQUEUE = 75
"""EX_TEMPFAIL of sysexits.h: the same command will go on where this one stopped."""


class Interrupted(BaseException):
    """Raised in the main thread by the first SIGTERM, SIGUSR1 or Ctrl-C. No ``Exception``: nothing may swallow it."""


@contextmanager
def stop_cleanly() -> Iterator[None]:
    """Turn the first signal into :class:`Interrupted`; a second one ends the process at once."""
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(signal.Signals(number).name)

    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
