"""Failures that count no longer, so that the cells are tried again."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from backbones.plugins import unknown
from bob.sweep.census import State, state_of, troubles_of
from bob.sweep.look import see
from bob.sweep.roll import Roll, read_roll
from results.attempts import WAITED, Cause
from results.store import Store

SHORT = {"oom": "out of memory", "io": "input/output"}
"""What people call causes."""


def causes_of(words: Sequence[str]) -> frozenset[str]:
    """The causes meant; all where none is given. Raises ``ValueError`` for an unknown one, with those there are.

    >>> sorted(causes_of(["oom", "killed"]))
    ['killed', 'out of memory']
    """
    failing = [cause for cause in get_args(Cause) if cause not in WAITED and cause != "done"]
    named = [SHORT.get(word, word) for word in words]
    for cause in named:
        if cause not in failing:
            raise unknown("cause", cause, [*failing, *SHORT])
    return frozenset(named or failing)


def forgive(store: Store, folder: Path, causes: Collection[str]) -> tuple[Roll, int, int]:
    """Forgive the cells of a sweep that failed by these; the roll, how many, and how many cells are to be run then.

    Those that a launcher would have tried again anyway are among them: they get all their attempts anew.
    """
    roll = read_roll(folder)
    keys = [cell.key for cell in roll.cells]
    failed = [trouble.key for trouble in troubles_of(keys, see(store, folder, keys)) if trouble.cause in causes]
    for key in failed:
        store.forgive(key)
    seen = see(store, folder, keys)
    settled = (State.DONE, State.FAILED, State.RUNNING)
    return roll, len(failed), sum(state_of(key, seen) not in settled for key in keys)
