"""What a worker does from start to end: its cells, one by one, alone or as one of a job's processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bob.commands.opening import execution_of, extractor_of, open_options
from bob.gauntlet import Gauntlet, Witness
from bob.plan import Cell
from bob.progress import Progress
from bob.roster import Roster
from bob.sweep.asked import unpacked
from bob.sweep.roll import read_roll
from bob.sweep.worker import ChangedError, rebuilt
from results.attempts import Cause
from results.store import Store
from slurm.crew import Turns, crew


@dataclass(frozen=True)
class Told(Witness):
    """Marks in the log where a cell's lines begin and end, and calls it out to the others of a job."""

    say: Callable[[str], None]
    turns: Turns | None

    def begins(self, cell: Cell, number: int) -> None:
        """Before anything is computed."""
        self.say(f"== {cell.key} attempt {number} ==")
        if self.turns is not None:
            self.turns.call(cell.key)

    def ends(self, cell: Cell, cause: Cause) -> None:
        """Once it is recorded."""
        self.say(f"== {cell.key} {cause} ==")


def do_duty(folder: Path, keys: Sequence[str]) -> int:
    """Compute the cells of these keys that are not done and that nobody else works on; how many failed.

    Of a job of several processes the first one claims and records; the others train with it, cell by cell.
    """
    folder = folder.resolve()
    roll, mates = read_roll(folder), crew()
    options, training = unpacked(roll.options)
    store, say = Store(folder.parents[1]), partial(print, flush=True)
    if mates.size > 1:
        training = replace(training, devices=mates.size // mates.nodes)
    with Progress() as progress:
        opening = open_options(options)
        if roll.plan:
            opening = replace(opening, places=opening.places.beside(Path(roll.plan)))
        roster, extractor = Roster(opening.places), extractor_of(options, progress)
        execution = replace(execution_of(options, training, progress), nodes=mates.nodes)
        wanted = [key for key in keys if key not in store.done_keys()] if mates.leads else keys
        turns = Turns(folder / "turns" / mates.job)
        gauntlet = Gauntlet(roster, store, extractor, say, execution)
        cells: list[Cell] = []
        lost = 0
        for listed, cell in rebuilt(roll, list(roll.chosen(wanted)), roster, opening, options.precision.value):
            if isinstance(cell, ChangedError):
                lost += mates.leads and _give_up(store, listed.key, cell, say)
            else:
                cells.append(cell)
        if not mates.leads:
            gauntlet.follow(cells, turns.heard())
            return 0
        gauntlet.witness = Told(say, turns if mates.size > 1 else None)
        summary = gauntlet.run(cells, wait=False)
        if mates.size > 1 and not summary.failures:  # after a failure the others hang in what they do together
            turns.end()
    return len(summary.failures) + lost


def _give_up(store: Store, key: str, changed: ChangedError, say: Callable[[str], None]) -> bool:
    """Leave a trace of a cell that is not what was launched; whether it was ours to say."""
    with store.claim(key) as claim:
        if claim is not None:
            claim.end("changed", str(changed))
    say(f"FAILED  {changed}")
    return claim is not None
