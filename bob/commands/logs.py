"""``bob logs``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.commands.sweeps import SweepOption, opened
from bob.options import StoreOptions, from_options

if TYPE_CHECKING:
    from results.attempts import Attempt


@from_options(StoreOptions)
def logs_command(
    options: StoreOptions,
    cell: Annotated[list[str], typer.Argument(help="A key, its beginning, or words of backbone, task and data.")],
    sweep: SweepOption = "",
) -> None:
    """The attempts at a cell, how each ended, and the log of the newest."""
    from bob.sweep.finding import find_cell
    from bob.sweep.roll import read_roll
    from bob.sweep.tables import console_of, draw_attempts

    store, folder = opened(options.store, sweep)
    with mistakes_as_lines():
        roll = read_roll(folder)
        found = find_cell(roll, cell)
    attempts = store.attempts(found.key)
    console = console_of()
    console.print(draw_attempts(found, roll, attempts, found.key in store.done_keys(), console.is_terminal))
    if attempts:
        for line in _log_of(attempts[-1]):
            typer.echo(line)


def _log_of(attempt: "Attempt") -> list[str]:
    """What is left of the newest attempt's log, or the lines that were kept of it."""
    from bob.sweep.logs import lines_between, plain_line

    kept = [plain_line(line) for line in attempt.tail.splitlines()]
    if not attempt.log:
        return ["it wrote no log of its own; its last words:", *kept] if kept else ["it wrote no log of its own"]
    try:
        lines = list(lines_between(Path(attempt.log), attempt.key, attempt.number))
    except OSError as error:
        return [f"its log cannot be read ({error}); its last words:", *kept]
    return [plain_line(attempt.log), *(lines or ["nothing in there is of this attempt; its last words:", *kept])]
