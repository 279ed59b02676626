"""How jobs ended, by the accounting database: often slow, late or missing, so it only ever adds a reason."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from slurm.place import UnreachableError
from slurm.squeue import OVER
from slurm.tools import ask

PATIENCE_S = 4.0
REST_S = 300.0


@dataclass(frozen=True)
class Booked:
    """A job that is over. ``exit_code`` is minus the signal's number where one ended it."""

    state: str
    exit_code: int | None
    node: str


@dataclass
class Accounting:
    """Asks sacct; where it fails or takes longer than a few seconds, it is left alone for some minutes."""

    _rest_until: float = field(default=0.0, init=False)

    def ends(self, arrays: Collection[str]) -> dict[str, Booked]:
        """By job (``123_4``), those of these arrays that are booked as over; fewer or none where it does not answer."""
        if not arrays or time.monotonic() < self._rest_until:
            return {}
        try:
            answer = ask(
                "sacct", "-X", "-n", "-P", "-j", ",".join(arrays), "-o", "JobID,State,ExitCode,NodeList",
                seconds=PATIENCE_S,
            )  # fmt: skip
        except UnreachableError:
            answer = None
        if answer is None or answer.code:
            self._rest_until = time.monotonic() + REST_S
            return {}
        return _booked(answer.out)


def _booked(lines: str) -> dict[str, Booked]:
    """What sacct prints, one job a line; a range of elements that never began is not over, whatever it says.

    >>> _booked("7_0|CANCELLED by 0|0:15|n1\\n7_[1-3]|PENDING|0:0|None assigned\\n")
    {'7_0': Booked(state='CANCELLED', exit_code=-15, node='n1')}
    """
    found = {}
    for line in lines.splitlines():
        job, state, code, node = line.split("|")
        word = state.partition(" ")[0]
        if word in OVER and "[" not in job:
            exit_code, _, signal = code.partition(":")
            number = int(exit_code) or -int(signal or 0)
            known = number if number or word == "COMPLETED" else None  # of a cancelled one it may say 0:0
            found[job] = Booked(word, known, "" if "assigned" in node else node)
    return found
