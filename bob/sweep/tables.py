"""A sweep's report as tables: with frames on a terminal, bare columns in a pipe. Names are shown, never interpreted."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bob.sweep.census import State
from bob.sweep.finding import name_of
from bob.sweep.logs import plain_line
from bob.sweep.report import Report, Spent
from bob.sweep.roll import Listed, Roll
from results.attempts import Attempt
from results.claims import LEASE_S
from results.names import visible

WIDE = 1000
"""Columns of a pipe: what reads it cuts for itself."""

LONGEST = 200
"""Characters of a name or a message."""


def console_of() -> Console:
    """Standard output, as wide as what reads it can take."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=WIDE)


def draw(found: Report, roll: Roll, now: datetime, framed: bool, most: int | None = None) -> RenderableType:
    """All of it; of the rows that count cells at most so many, those with something left to happen first."""
    parts: list[RenderableType] = [Text(_headline(found), style="bold"), *_counts(found, framed, most)]
    parts += [Text(line) for line in _lines(found, now)]
    words = {cell.key: cell for cell in roll.cells if cell.key in _shown_keys(found)}
    if found.groups:
        parts.append(_failures(found, roll, words, framed))
    parts += [
        Text(
            f"silent: {called(words[each.key], roll)}, for over {LEASE_S / 60:g} min on {visible(each.node)}"
            f"{f' (job {visible(each.job)})' if each.job else ''}: the next worker that wants it takes it over"
        )
        for each in found.silent[:3]
    ]
    return Group(*parts)


def called(cell: Listed, roll: Roll) -> str:
    """A cell for people: as much of its key as tells it apart, and its name."""
    return visible(f"{cell.key[:12]}  {name_of(cell, roll)}", LONGEST)


def _shown_keys(found: Report) -> set[str]:
    return {group.example.key for group in found.groups} | {each.key for each in found.silent[:3]}


def _headline(found: Report) -> str:
    return f"sweep {found.name}: {sum(found.total.values()):,} cells: {_counted(found.total)}"


def _counted(counts: Mapping[State, int]) -> str:
    return ", ".join(f"{counts[state]:,} {state}" for state in State if counts[state]) or "none"


def _counts(found: Report, framed: bool, most: int | None) -> Iterator[RenderableType]:
    """A row for each backbone and task."""
    states = [state for state in State if found.total[state] or state is not State.WAITING]
    table = _table(["BACKBONE", "TASK", *(state.upper() for state in states)], range(2), framed)
    rows = list(found.rows.items())
    if most:
        rows.sort(key=lambda row: row[1][State.DONE] == row[1].total())
    for (backbone, task), counts in rows[:most]:
        table.add_row(*_texts([backbone, task, *(f"{counts[state]:,}" if counts[state] else "-" for state in states)]))
    yield table
    if most and (hidden := rows[most:]):
        rest = sum((counts for _, counts in hidden), Counter[State]())
        yield Text(f"and {len(hidden):,} rows more: {_counted(rest)}", style="dim")


def _lines(found: Report, now: datetime) -> Iterator[str]:
    yield f"spent: {_spent(found.spent)}"
    if found.ended:
        yield "nothing is left to run"
    elif found.remaining_s is None:
        yield f"expected finish: unknown ({found.why})"
    else:
        end = now + timedelta(seconds=found.remaining_s)
        running = found.total[State.RUNNING]
        yield f"expected finish: in {duration(found.remaining_s)} ({end:%a %d %b %H:%M}), {running:,} at once as now"
    if found.outdated:
        yield f"{found.outdated:,} of the cells to come were answered by an older version: boards show those as stale"


def _spent(spent: Spent) -> str:
    hours = [f"{spent.gpu_hours:,.1f} GPU-hours"] if spent.gpu_hours else []
    if spent.cpu_hours or not hours:
        hours.append(f"{spent.cpu_hours:,.1f} hours on CPUs")
    partly = f" (what {spent.known:,} of {spent.done:,} cells took, the rest is being read)"
    vain = f", {spent.vain_hours:,.1f} hours of attempts in vain" if spent.vain_hours else ""
    return f"{' and '.join(hours)}{partly if spent.known < spent.done else ''}{vain}"


def duration(seconds: float) -> str:
    """A time in words.

    >>> [duration(each) for each in (20, 200, 5000, 200_000)]
    ['20 s', '3 min', '1 h 23 min', '2 d 7 h']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _failures(found: Report, roll: Roll, words: Mapping[str, Listed], framed: bool) -> Table:
    """A row for each cause."""
    table = _table(["FAILED BY", "CELLS", "TRIED AGAIN", "LATEST", "ITS LAST WORDS"], (0, 3, 4), framed)
    for group in found.groups:
        latest, said = called(words[group.example.key], roll), plain_line(group.example.said)
        table.add_row(*_texts([group.cause, f"{group.count:,}", f"{group.again:,}", latest, said]))
    return table


def draw_attempts(cell: Listed, roll: Roll, attempts: Sequence[Attempt], done: bool, framed: bool) -> RenderableType:
    """Who tried a cell and how that ended, a row each."""
    title = Text(visible(f"{cell.key}  {name_of(cell, roll)}", LONGEST), style="bold")
    if not attempts:
        return Group(title, Text("done at the first attempt" if done else "nobody has begun it"))
    heads = ["ATTEMPT", "STARTED", "NODE", "JOB", "ENDED", "EXIT CODE", "MESSAGE"]
    table = _table(heads, range(len(heads)), framed)
    for each in attempts:
        end = f"{each.cause or 'goes on'}{' (forgiven)' if each.forgiven else ''}"
        code = "" if each.exit_code is None else str(each.exit_code)
        table.add_row(*_texts([str(each.number), each.started, each.node, each.job, end, code, each.message]))
    return Group(title, table)


def _table(heads: Sequence[str], left: Container[int], framed: bool) -> Table:
    """``left`` are columns of words, which a terminal may fold; the others are numbers."""
    table = Table(header_style="bold") if framed else Table(box=None, pad_edge=False, header_style="")
    for position, head in enumerate(heads):
        words = position in left
        table.add_column(Text(head), justify="left" if words else "right", overflow="fold", no_wrap=not words)
    return table


def _texts(words: Iterable[str]) -> list[Text]:
    return [Text(visible(word, LONGEST)) for word in words]
