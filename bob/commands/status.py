"""``bob status``."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.commands.sweeps import SweepArgument, opened
from bob.options import StoreOptions, from_options

if TYPE_CHECKING:
    from bob.sweep.report import Report
    from bob.sweep.roll import Roll
    from results.store import Store

WATCH_S = 3.0
"""Between two looks of ``--watch``."""


@from_options(StoreOptions)
def status_command(
    options: StoreOptions,
    sweep: SweepArgument = "",
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, till nothing is left.")] = False,
) -> None:
    """How a sweep is doing: what is done, runs, waits, failed, what it cost, when it ends. Exit code 1: some failed."""
    from bob.sweep.look import look

    store, folder = opened(options.store, sweep)
    with mistakes_as_lines():
        if watch:
            found = _watch(store, folder)
        else:
            roll, found = look(store, folder)
            _print(roll, found)
    raise typer.Exit(EXIT_FAILED if found is not None and found.failed else 0)


def _watch(store: "Store", folder: Path) -> "Report | None":
    """Redraw in place on a terminal, in a pipe print what has changed; None where Ctrl-C ended it, as it may."""
    from bob.sweep.tables import console_of

    show = _redraw if console_of().is_terminal else _print_changes
    try:
        return show(_looks(store, folder))
    except KeyboardInterrupt:
        return None


def _looks(store: "Store", folder: Path) -> "Iterator[tuple[Roll, Report]]":
    """One every few seconds, the last when nothing is left to happen."""
    from bob.sweep.look import look

    while True:
        roll, found = look(store, folder)
        yield roll, found
        if found.ended:
            return
        time.sleep(WATCH_S)


def _redraw(looks: "Iterator[tuple[Roll, Report]]") -> "Report":
    from rich.live import Live

    from bob.sweep.tables import console_of, draw

    console = console_of()
    with Live(console=console, auto_refresh=False) as live:
        for roll, found in looks:
            most = max(3, console.height - 20)
            live.update(draw(found, roll, datetime.now(), framed=True, most=most), refresh=True)
    return found


def _print_changes(looks: "Iterator[tuple[Roll, Report]]") -> "Report":
    before = None
    for roll, found in looks:
        if found.total != before:
            _print(roll, found)
        before = found.total
    return found


def _print(roll: "Roll", found: "Report") -> None:
    from bob.sweep.tables import console_of, draw

    console = console_of()
    console.print(draw(found, roll, datetime.now(), framed=console.is_terminal))
