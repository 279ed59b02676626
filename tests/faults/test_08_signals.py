"""Case 8: SIGTERM, SIGUSR1 and Ctrl-C end a run cleanly with an exit code that says "run me again"."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly


@pytest.mark.parametrize(
    "number", [signal.SIGUSR1, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_first_signal_keeps_what_is_done(bob: Any, tiny_plan: Path, number: signal.Signals) -> None:
    slow = bob.folder / "mine.py"
    slow.write_text(slow.read_text().replace("nn.Flatten()", "nn.Flatten(), Slow()") + SLOW)
    pid = bob.start("run", str(tiny_plan))
    bob.until("pixels  ")
    os.kill(pid, number)
    before = time.monotonic()
    assert bob.wait(pid) == EXIT_REQUEUE, bob.log.read_text()
    assert time.monotonic() - before < 30
    assert number.name in bob.log.read_text()
    slow.write_text(slow.read_text().replace("sleep(1)", "sleep(0)"))
    code, log = bob("run", str(tiny_plan))
    assert code == 0, log
    assert "0 found done" not in log


SLOW = """
import time
class Slow(nn.Module):
    def forward(self, x):
        time.sleep(1)
        return x
"""


def test_second_signal_is_the_systems_own() -> None:
    inside: list[object] = []
    before = signal.getsignal(signal.SIGINT)  # a background job of a shell starts with it ignored

    def interrupted() -> None:
        with stop_cleanly():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                inside.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))

    with pytest.raises(Interrupted, match="SIGTERM"):
        interrupted()
    assert inside == [signal.SIG_DFL, signal.SIG_DFL]
    assert signal.getsignal(signal.SIGINT) is before
