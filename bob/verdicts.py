"""A comparison of two backbones in words: a table of numbers, and under it what each setting says."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bob.compare import Match, Verdict
from results.board import Column
from results.comparison import Comparison
from results.formats import words
from results.names import visible

HEADS = ("", "A", "B", "A over B", "95 %", "p", "p (Holm)", "items", "seeds")
LEGEND = (
    "A over B: above zero where A is better, fractions in percentage points. p: of no difference; corrected over the "
    "settings here, it decides. Intervals are of one setting alone. With one seed, the noise is that of the test items "
    "alone: another seed may give another number. A difference that would have been seen is one that four of five such "
    "comparisons find."
)


def print_match(match: Match) -> None:
    """Print it on standard output. Settings are numbered in the table and spelled out below."""
    console = Console()
    for line in _heading(match):
        console.print(line, markup=False, highlight=False)
    if any(verdict.found for verdict in match.verdicts):
        console.print(_table(match))
    for position, verdict in enumerate(match.verdicts, start=1):
        console.print(f"[{position}] {words.title(verdict.column)}: {in_words(verdict)}", markup=False, highlight=False)
    console.print(overall(match), markup=False, highlight=False, style="bold")
    if any(verdict.found for verdict in match.verdicts):
        console.print(LEGEND, markup=False, highlight=False, style="dim")


def in_words(verdict: Verdict) -> str:
    """What a setting says of the two, A and B."""
    if verdict.found is None:
        return f"not comparable: {visible(verdict.reason, 300)}"
    seen = verdict.found.advantage
    if verdict.winner:
        near, far = sorted((abs(seen.low), abs(seen.high)))
        better = "A" if verdict.winner > 0 else "B"
        said = f"{better} is better by {_amount(near, verdict.column)} to {_amount(far, verdict.column, True)}"
    elif seen.error == 0 == seen.value:
        said = "the same on every item"
    else:
        said = f"no difference seen; one of {_amount(verdict.detectable, verdict.column, True)} would have been"
        if not seen.low <= 0 <= seen.high:
            said += "; alone it would pass for one, among so many settings it does not"
    return f"{said} ({verdict.found.test}){_seeds(verdict)}"


def overall(match: Match) -> str:
    """One line over all settings."""
    wins, losses, ties, without = match.tally()
    parts = [f"A is better in {wins}", f"B in {losses}", f"no difference seen in {ties}"]
    parts += [f"not comparable in {without}"] * (without > 0)
    alone = [f"{count} more only {side} has" for side, count in zip("AB", match.alone, strict=True) if count]
    settings = f"{len(match.verdicts)} setting{'s' * (len(match.verdicts) != 1)} that both have"
    return f"Of {settings}: {', '.join(parts)}{'; ' * bool(alone)}{', '.join(alone)}."


def _heading(match: Match) -> Iterator[str]:
    for side, name in zip("AB", match.names, strict=True):
        yield f"{side}: {visible(name)}"


def _seeds(verdict: Verdict) -> str:
    """How many more seeds would settle it, where there is a spread over seeds to tell by."""
    if verdict.winner or verdict.found is None or verdict.found.per_seed is None or not verdict.found.advantage.value:
        return ""
    if verdict.more_seeds is None:
        return "; were it as large as seen, seeds alone would not settle it: it takes more test items"
    return f"; were it as large as seen, {verdict.more_seeds} more seeds would settle it"


def _table(match: Match) -> Table:
    table = Table(header_style="bold")
    for head in HEADS:
        table.add_column(Text(head), justify="right", overflow="fold")
    for position, verdict in enumerate(match.verdicts, start=1):
        if verdict.found is not None:
            table.add_row(*map(Text, [f"[{position}]", *_numbers(verdict, verdict.found)]))
    return table


def _numbers(verdict: Verdict, found: Comparison) -> list[str]:
    column, seen = verdict.column, found.advantage
    return [
        words.number(found.mine, column),
        words.number(found.theirs, column),
        _signed(seen.value, column),
        f"[{_signed(seen.low, column)}, {_signed(seen.high, column)}]",
        _chance(seen.p),
        _chance(verdict.p),
        "—" if found.items is None else f"{found.items:,}",
        f"{found.seeds[0]}" if found.seeds[0] == found.seeds[1] else f"{found.seeds[0]}, {found.seeds[1]}",
    ]


def _signed(value: float, column: Column) -> str:
    return ("+" if value >= 0 else "-") + words.number(abs(value), column)


def _chance(p: float) -> str:
    """
    >>> _chance(0.04321), _chance(1e-9)
    ('0.0432', '≤0.0001')

    One in ten thousand is the least that flipped signs can tell.
    """
    return "≤0.0001" if p <= 1e-4 else f"{p:.3g}"


def _amount(value: float, column: Column, named: bool = False) -> str:
    unit = "points" if column.unit == "fraction" else visible(column.unit)
    return words.number(value, column) + f" {unit}" * named
