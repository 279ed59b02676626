"""What is worth knowing of a sweep: how many cells are what, what it has cost, when it ends, why cells failed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from bob.sweep.census import Seen, State, Trouble, state_of
from bob.sweep.roll import Listed, Roll
from results.attempts import Attempt
from results.index import Line

TO_COME = (State.RUNNING, State.QUEUED, State.WAITING, State.SILENT)

RECENT = 50
"""So many of a question's latest cells tell how long its next ones take."""


@dataclass(frozen=True)
class Group:
    """Cells that failed alike. ``again`` of them are tried once more by the launcher; ``example`` is the latest."""

    cause: str
    count: int
    again: int
    example: Trouble


@dataclass(frozen=True)
class Spent:
    """Hours of cells that are done, by what they ran on, known of ``known`` of ``done``; and of attempts in vain.

    Several cells that share a GPU count an hour each.
    """

    gpu_hours: float
    cpu_hours: float
    known: int
    done: int
    vain_hours: float


@dataclass(frozen=True)
class Report:
    """All of it. ``rows`` are by backbone and task; ``remaining_s`` is None where nobody can tell, and ``why`` says so.

    ``outdated`` counts cells to come whose question an older version has answered: boards show that as stale.
    """

    name: str
    total: Counter[State]
    rows: Mapping[tuple[str, str], Counter[State]]
    spent: Spent
    remaining_s: float | None
    why: str
    groups: Sequence[Group]
    silent: Sequence[Attempt]
    outdated: int

    @property
    def failed(self) -> bool:
        """Whether some cells have been given up."""
        return self.total[State.FAILED] > 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left to happen by itself."""
        return not any(self.total[state] for state in TO_COME)


def report(roll: Roll, seen: Seen, lines: Mapping[str, Line], troubles: Sequence[Trouble]) -> Report:
    """Put together what was seen. ``lines`` are of records, as many as could be read, also of other sweeps."""
    rows: defaultdict[tuple[str, str], Counter[State]] = defaultdict(Counter)
    left: list[tuple[Listed, State]] = []
    for cell in roll.cells:
        state = state_of(cell.key, seen)
        rows[roll.backbones[cell.backbone], roll.questions[cell.question].task][state] += 1
        if state is not State.DONE:
            left.append((cell, state))
    total = sum(rows.values(), Counter[State]())
    remaining, why = _remaining(roll, [each for each in left if each[1] is not State.FAILED], lines)
    return Report(
        name=roll.name,
        total=total,
        rows=rows,
        spent=_spent(roll, total[State.DONE], seen, lines),
        remaining_s=remaining,
        why=why,
        groups=_groups(troubles),
        silent=[seen.attempts[cell.key][-1] for cell, state in left if state is State.SILENT],
        outdated=_outdated(roll, [cell for cell, _ in left], lines),
    )


def _remaining(roll: Roll, left: Sequence[tuple[Listed, State]], lines: Mapping[str, Line]) -> tuple[float | None, str]:
    """Seconds to the end: what the latest cells of each question took, under as many at once as run now."""
    if not left:
        return 0.0, ""
    running = sum(state is State.RUNNING for _, state in left)
    if not running:
        return None, "nothing is running"
    took = _recent_seconds(roll, lines)
    if missing := next((cell for cell, _ in left if cell.question not in took), None):
        return None, f"no cell of {roll.questions[missing.question].setting} is done yet"
    half = {State.RUNNING: 0.5}  # of those that run now about half is over
    return sum(took[cell.question] * half.get(state, 1.0) for cell, state in left) / running, ""


def _recent_seconds(roll: Roll, lines: Mapping[str, Line]) -> dict[int, float]:
    """By question, the mean of the latest cells."""
    done: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
    for cell in roll.cells:
        if (line := lines.get(cell.key)) is not None:
            done[cell.question].append((line.created, line.seconds))
    return {question: fmean(seconds for _, seconds in sorted(ended)[-RECENT:]) for question, ended in done.items()}


def _spent(roll: Roll, done: int, seen: Seen, lines: Mapping[str, Line]) -> Spent:
    devices = int(roll.options.get("devices", 1))
    ours = [lines[cell.key] for cell in roll.cells if cell.key in lines and cell.key in seen.done]
    hours = {gpus: sum(line.seconds for line in ours if line.gpus == gpus) * devices / 3600 for gpus in (True, False)}
    vain = sum(seconds_of(each) for attempts in seen.attempts.values() for each in attempts) * devices / 3600
    return Spent(hours[True], hours[False], len(ours), done, vain)


def seconds_of(attempt: Attempt) -> float:
    """How long an attempt took; 0 of one that others found dead, whenever that was and by whichever clock."""
    if attempt.ended is None or (attempt.cause in ("lost", "node lost", "killed") and attempt.exit_code is None):
        return 0.0
    return max(0.0, (datetime.fromisoformat(attempt.ended) - datetime.fromisoformat(attempt.started)).total_seconds())


def _groups(troubles: Sequence[Trouble]) -> list[Group]:
    by_cause: defaultdict[str, list[Trouble]] = defaultdict(list)
    for trouble in troubles:
        by_cause[trouble.cause].append(trouble)
    groups = [
        Group(cause, len(each), sum(not one.over for one in each), max(each, key=lambda one: (one.ended, one.key)))
        for cause, each in by_cause.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.cause))


def _outdated(roll: Roll, left: Sequence[Listed], lines: Mapping[str, Line]) -> int:
    """How many of these cells have a record by another key of the same question.

    The roll knows backbones by what they are loaded as, records by their own name: cells that are done tell both.
    """
    ours = {cell.key: cell for cell in roll.cells}
    names = {(number, name) for number, name in enumerate(roll.backbones)}
    names |= {(ours[key].backbone, line.backbone) for key, line in lines.items() if key in ours}
    older = {(line.backbone, line.setting, line.seed) for key, line in lines.items() if key not in ours}
    called: defaultdict[int, list[str]] = defaultdict(list)
    for number, name in names:
        called[number].append(name)
    return sum(
        any((name, roll.questions[cell.question].setting, cell.seed) in older for name in called[cell.backbone])
        for cell in left
    )
