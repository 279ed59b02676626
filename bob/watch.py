"""Checkpoints of a run of pretraining as they are published."""

import time
from collections.abc import Callable, Iterator

from backbones.places import Places
from backbones.pretraining.runs import FINISHED, published_steps, run_folder

LOOK_SECONDS = 2.0


def watched(run: str, places: Places, say: Callable[[str], None]) -> Iterator[list[str]]:
    """Names of those that are there and then, as they come, of those that are new, until the run is finished.

    The newest of several first: a person who watches wants to know how it is now. Raises ``ValueError`` for a run that
    is not there, with those that are.
    """
    folder = run_folder(run, places)
    known: set[int] = set()
    while True:
        finished = (folder / FINISHED).exists()  # before the look: what it published is then seen
        new = [step for step in published_steps(folder) if step not in known]
        known.update(new)
        if new:
            yield [f"checkpoint:{run}@{step}" for step in reversed(new)]
            if not finished:
                say(f"watching {folder}: waits for what comes after step {max(known)}")
        elif finished:
            return
        else:
            time.sleep(LOOK_SECONDS)
