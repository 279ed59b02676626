"""A plan's cells launched at a place, watched over until nothing is left to do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from bob.endings import LimitError
from bob.gauntlet import Summary
from bob.plan import Cell
from bob.sweep.cancelling import begin_anew, is_cancelled
from bob.sweep.code import code_digest
from bob.sweep.racing import split
from bob.sweep.roll import Listed, ListedQuestion, Roll
from results.attempts import FINAL
from results.claims import LEASE_S
from results.record import Record
from results.store import Store
from slurm.parcel import Parcel, Unit
from slurm.place import Place, Work
from slurm.supervise import Pace, supervise

T = TypeVar("T")


@dataclass(frozen=True)
class Launch:
    """A sweep to be launched: where, with which options for its workers, and what tells people of it."""

    name: str
    plan: str
    options: Mapping[str, Any]
    place: Place
    pace: Pace
    work: Callable[[Parcel], Work]
    say: Callable[[str], None]

    def run(self, cells: Sequence[Cell], units: Sequence[Unit], store: Store, folder: Path) -> Summary:
        """Launch what is neither done nor at work, and watch until nothing is left that anybody would do."""
        roll_of(self.name, self.plan, self.options, cells).write(folder)
        begin_anew(folder)
        for key in store.attempted_keys() & {cell.key for cell in cells}:
            if store.attempts(key)[-1].cause == "changed":  # it is on the roll again, as it is now
                store.forgive(key)
        asked = {cell.key: cell for cell in cells if cell.refusal is None}
        before = store.done_keys() & set(asked)
        verdicts = Verdicts(store)

        handed = set[str]()

        def work(parcel: Parcel) -> Work:
            handed.update(parcel.units)
            return self.work(parcel)

        def unfinished() -> set[str]:
            if is_cancelled(folder):
                self.place.cancel()
                return set()
            verdicts.look()
            left = set(asked) - store.done_keys()
            wanted = {unit.name for unit in units if split(unit.name)[0] in left}
            return {name for name in wanted if name in left or name not in handed}  # a helper is offered once

        def working() -> set[str]:
            return {attempt.key for attempt, age_s in store.running() if age_s < LEASE_S}

        supervise(
            self.place,
            units,
            unfinished,
            work,
            self.say,
            pace=self.pace,
            given_up=verdicts.of,
            working=working,
        )
        done = store.done_keys() & set(asked)
        failures = [verdicts.line(asked[key]) for key in asked if key not in done]
        return Summary(len(done - before), len(before), len(cells) - len(asked), failures)


def roll_of(name: str, plan: str, options: Mapping[str, Any], cells: Sequence[Cell]) -> Roll:
    """The roll of these cells, those that are not applicable left out."""
    asked = [cell for cell in cells if cell.refusal is None]
    backbones = _numbered(cell.loaded_as for cell in asked)
    questions = {id(cell.question): cell for cell in asked}
    numbers = _numbered(questions)
    return Roll(
        name=name,
        plan=plan,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code=code_digest(),
        options=dict(options),
        backbones=tuple(backbones),
        questions=tuple(
            ListedQuestion(cell.question.task.name, cell.address.setting(), dict(cell.question.entry))
            for cell in questions.values()
        ),
        cells=tuple(
            Listed(cell.key, backbones[cell.loaded_as], numbers[id(cell.question)], cell.seed) for cell in asked
        ),
        racing=any(cell.racing for cell in asked),
    )


def _numbered(things: Iterable[T]) -> dict[T, int]:
    """Each with its number, in order of appearance."""
    return {thing: number for number, thing in enumerate(dict.fromkeys(things))}


class Verdicts:
    """Why cells are not to be tried again, as the store has it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._failed: dict[str, Record] = {}
        self.look()

    def look(self) -> None:
        """See what has failed by now."""
        self._failed = {record.key: record for record in self.store.failures()} if self.store.failed_keys() else {}

    def of(self, key: str) -> str | None:
        """Why a cell, and helping with it, is given up: it failed by this code, in a way that it would again."""
        last = next(iter(self.store.attempts(split(key)[0])[-1:]), None)
        if last is None or last.forgiven:
            return None
        failed = self._failed.get(last.key)
        if failed is None or failed.error is None:
            return last.message if last.cause in FINAL else None
        is_final = last.cause in FINAL or failed.error.kind == LimitError.__name__
        by_this_code = failed.provenance.code == code_digest()
        return f"{failed.error.kind}: {failed.error.message}" if is_final and by_this_code else None

    def line(self, cell: Cell) -> str:
        """What became of a cell that is not done, for people."""
        return f"{cell.backbone}  {cell.address.setting()}  seed {cell.seed}  {self.of(cell.key) or 'not done'}"
