"""A worker of a sweep: rebuilds the cells it is given from the roll, and runs them on the sweep's store."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bob.plan import Cell, Plan, PlanError, resolve
from bob.roster import Roster
from bob.sweep.roll import Listed, Roll
from tasks.datasets.base import OpenOptions


class ChangedError(ValueError):
    """A cell is no longer what was launched: its weights, its data or its plan changed while it waited."""


def rebuilt(
    roll: Roll, listed: Sequence[Listed], roster: Roster, options: OpenOptions, precision: str
) -> Iterator[tuple[Listed, Cell | ChangedError]]:
    """The cells as the launcher resolved them, or why they cannot be had.

    All are resolved at once, for data sets are opened and weights read once then; where that fails, one by one.
    """
    if not listed:  # all were done in the meantime; a plan of nothing is none
        return
    try:
        found = _resolved(roll, listed, roster, options, precision)
        yield from ((each, found.get(each.key) or _changed(roll, each)) for each in listed)
    except PlanError:
        yield from ((each, _alone(roll, each, roster, options, precision)) for each in listed)


def _alone(roll: Roll, listed: Listed, roster: Roster, options: OpenOptions, precision: str) -> Cell | ChangedError:
    try:
        return _resolved(roll, [listed], roster, options, precision).get(listed.key) or _changed(roll, listed)
    except PlanError as error:
        return ChangedError("; ".join(error.lines))


def _resolved(
    roll: Roll, listed: Sequence[Listed], roster: Roster, options: OpenOptions, precision: str
) -> dict[str, Cell]:
    plan = Plan(
        backbones=list(dict.fromkeys(roll.backbones[each.backbone] for each in listed)),
        tasks=[roll.questions[number].entry for number in dict.fromkeys(each.question for each in listed)],
        seeds=sorted({each.seed for each in listed}),
        racing=roll.racing,
    )
    return {cell.key: cell for cell in resolve(plan, roster, options, precision, [])}


def _changed(roll: Roll, listed: Listed) -> ChangedError:
    setting = roll.questions[listed.question].setting
    return ChangedError(
        f"{roll.backbones[listed.backbone]} at {setting} is not what was launched as {listed.key}: its weights, "
        f"preprocessing or data changed since; launch {Path(roll.plan).name} again, and what changed is computed anew"
    )
