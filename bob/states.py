"""What would run, cell by cell, and why: done, stale, failed before or to do. Reads names of records where those do."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum

from bob.plan import Cell
from results import record
from results.store import Store


class State(StrEnum):
    """What a cell is before a run."""

    DONE = "done"
    STALE = "stale"
    TO_DO = "to do"
    FAILED = "failed before"
    REFUSED = "not applicable"


def states(cells: Sequence[Cell], store: Store) -> Iterator[tuple[Cell, State, str]]:
    """What would run, cell by cell, and why. Of the plan's own records only the names are looked at."""
    keys = {cell.key for cell in cells}
    done = store.done_keys()
    older = [found for key in sorted(done - keys) if (found := store.get(key)) is not None]
    older.sort(key=lambda each: (each.provenance.created, each.key))
    by_address = {each.cell.address(): each for each in older}  # of several answers the newest, as on the board
    about = {(each.cell.backbone, each.cell.task) for each in older}  # an address takes 50 us, and most need none
    failed = {each.key: each for each in store.failures(keys)}
    for cell in cells:
        if cell.refusal is not None:
            yield cell, State.REFUSED, cell.refusal
        elif cell.key in done:
            yield cell, State.DONE, f"record {cell.key}"
        elif (old := _older(cell, about, by_address)) is not None:
            yield cell, State.STALE, "; ".join(_changes(cell, old))
        elif (attempt := failed.get(cell.key)) is not None and attempt.error is not None:
            yield cell, State.FAILED, f"{attempt.error.kind}: {attempt.error.message}"
        else:
            yield cell, State.TO_DO, "no record yet"


def _older(
    cell: Cell, about: AbstractSet[tuple[str, str]], by_address: Mapping[str, record.Record]
) -> record.Record | None:
    is_about = (cell.backbone, cell.question.task.name) in about
    return by_address.get(cell.address.address()) if is_about else None


def _changes(cell: Cell, old: record.Record) -> list[str]:
    """What is different since that record of the same question, whose chosen settings are therefore the same."""
    changes = cell.identity.changes_from(old.identity)
    if "settings" in old.notes:
        changes += record.differences("default of", old.notes["settings"], cell.question.settings)
    if not changes and old.identity.preprocess is None:  # all else is the same, and it is in the key
        return ["preprocessing changed (this record is too old to say from what)"]
    return changes or ["the way keys are made changed"]
