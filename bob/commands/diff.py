"""``bob diff``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.options import StoreOptions, from_options

if TYPE_CHECKING:
    from results.record import Record

BUDGET_S = 60.0
"""Seconds to look for records of the same setting, in a store that nobody has indexed."""

OneArgument = Annotated[str, typer.Argument(metavar="CELL1", help="A key, or its beginning.")]
OtherArgument = Annotated[str, typer.Argument(metavar="CELL2", help="What it is compared with.")]


@from_options(StoreOptions)
def diff_command(options: StoreOptions, cell1: OneArgument, cell2: OtherArgument) -> None:
    """What differs between two runs, first what moves the number. Exit code 1: something that makes the number does."""
    from results.changes import CIRCUMSTANCES, NUMBER, changes, score_changes
    from results.lookup import find_record

    with mistakes_as_lines():
        one, other = find_record(options.store, cell1), find_record(options.store, cell2)
    for number, record in enumerate((one, other), start=1):
        _say(f"{number}  {record.key}  {record.cell.words()}: {record.failure() or 'done'} {record.provenance.created}")
    moving = changes(NUMBER, one, other)
    _say(f"first difference: {next(iter(moving))}" if moving else "nothing that makes the number differs")
    for lines in (moving, changes(CIRCUMSTANCES, one, other)):
        for aspect, told in lines.items():
            _say(f"{aspect}:" if aspect in moving else f"{aspect} (should not move the number):")
            for line in told:
                _say(f"  {line.removeprefix(aspect).strip()}")
    _say("scores:")
    for line in score_changes(one, other) or ["none"]:
        _say(f"  {line}")
    _say(_usual(options.store, one, other))
    raise typer.Exit(EXIT_FAILED if moving else 0)


def _usual(store: Path, one: "Record", other: "Record") -> str:
    """How much seeds move the number in the settings of these two, in words."""
    from results.changes import headline_difference, seed_spread

    spread = seed_spread(_alike(store, one, other), one.headline)
    if spread is None:
        return "how much seeds usually move the number is not known: nothing of this setting was run with several"
    return spread.told(one.headline, headline_difference(one, other))


def _alike(store: Path, one: "Record", other: "Record") -> "Iterator[Record]":
    """What is done of their settings, as far as it can be read."""
    from results.index import short_lines
    from results.record import Record
    from results.store import RECORD, keys_in

    settings = {one.cell.setting(), other.cell.setting()}
    for key, line in short_lines(store, sorted(keys_in(store / "cells")), BUDGET_S).items():
        if line.setting in settings:
            try:
                yield Record.from_json((store / "cells" / key / RECORD).read_bytes())
            except (OSError, ValueError):
                continue


def _say(line: str) -> None:
    from results.names import visible

    typer.echo(visible(line, 1000) if not line.startswith(" ") else f"  {visible(line.strip(), 1000)}")
