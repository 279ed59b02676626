"""What a worker does from start to end: its cells, one by one, alone or as one of a job's processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bob.commands.opening import execution_of, extractor_of, open_options
from bob.gauntlet import Gauntlet, Witness
from bob.plan import Cell
from bob.progress import Progress
from bob.roster import Roster
from bob.sweep.asked import unpacked
from bob.sweep.logs import begin_mark, end_mark
from bob.sweep.racing import help_with, split
from bob.sweep.roll import read_roll
from bob.sweep.worker import ChangedError, rebuilt
from results.attempts import Cause
from results.store import Store
from slurm.crew import Crew, Turns, crew
from slurm.here import Job, launch


@dataclass(frozen=True)
class Told(Witness):
    """Marks in the log where a cell's lines begin and end, and calls it out to the others of a job."""

    say: Callable[[str], None]
    turns: Turns | None

    def begins(self, cell: Cell, number: int) -> None:
        """Before anything is computed."""
        self.say(begin_mark(cell.key, number))
        if self.turns is not None:
            self.turns.call(cell.key)

    def ends(self, cell: Cell, cause: Cause) -> None:
        """Once it is recorded."""
        self.say(end_mark(cell.key, cause))


def do_duty(folder: Path, units: Sequence[str]) -> int:
    """Compute the cells of these units that are not done and that nobody else works on; how many failed.

    Of a job of several processes the first one claims and records; the others train with it, cell by cell.
    """
    folder = folder.resolve()
    roll, mates = read_roll(folder), crew()
    options, training = unpacked(roll.options)
    store, say = Store(folder.parents[1]), partial(print, flush=True)
    if mates.size > 1:
        training = replace(training, devices=mates.size // mates.nodes)
    opening = open_options(options)
    if roll.plan:
        opening = replace(opening, places=opening.places.beside(Path(roll.plan)))
    roster = Roster(opening.places)
    with Progress() as progress:
        execution = replace(execution_of(options, training, progress), nodes=mates.nodes)
        gauntlet = Gauntlet(roster, store, extractor_of(options, progress), say, execution)
        done = store.done_keys() if mates.leads else set()
        keys = dict.fromkeys(key for key, _ in map(split, units) if key not in done)
        found = dict(rebuilt(roll, list(roll.chosen(list(keys))), roster, opening, options.precision.value))
        turns = Turns(folder / "turns" / mates.job)
        if not mates.leads:
            gauntlet.follow([cell for cell in found.values() if isinstance(cell, Cell)], turns.heard())
            return 0
        return _lead(gauntlet, units, {listed.key: cell for listed, cell in found.items()}, mates, turns)


def _lead(
    gauntlet: Gauntlet, units: Sequence[str], found: Mapping[str, Cell | ChangedError], mates: Crew, turns: Turns
) -> int:
    together = mates.size > 1
    gauntlet.witness = Told(gauntlet.say, turns if together else None)
    gone = [_give_up(gauntlet, key, cell) for key, cell in found.items() if isinstance(cell, ChangedError)]
    cells = {key: cell for key, cell in found.items() if isinstance(cell, Cell)}
    asked = [(key, helper) for key, helper in map(split, units) if key in cells]
    summary = gauntlet.run([cells[key] for key, helper in asked if not helper], wait=False)
    races = [
        Job(key, partial(help_with, cells[key], gauntlet, gauntlet.store, helper)) for key, helper in asked if helper
    ]
    for outcome in launch(races):
        if outcome.error is not None:  # its holder will meet it too, and record it
            gauntlet.say(f"no help with {outcome.name}: {outcome.error}")
    if together and not summary.failures:  # after a failure the others hang in what they do together
        turns.end()
    return len(summary.failures) + sum(gone)


def _give_up(gauntlet: Gauntlet, key: str, changed: ChangedError) -> bool:
    """Leave a trace of a cell that is not what was launched; whether it was ours to say."""
    with gauntlet.store.claim(key) as claim:
        if claim is not None:
            claim.end("changed", str(changed))
    gauntlet.say(f"FAILED  {changed}")
    return claim is not None
