"""Which sweep a command is about, and the store it is in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.mistakes import mistakes_as_lines

if TYPE_CHECKING:
    from results.store import Store

LAST = "Its name; without one, the sweep launched last."

SweepArgument = Annotated[str, typer.Argument(help=LAST)]
SweepOption = Annotated[str, typer.Option(help=LAST)]


def opened(store: Path, sweep: str) -> "tuple[Store, Path]":
    """The store and the folder of a sweep in it; one that is not there ends the command, with those that are."""
    from bob.sweep.roll import find_sweep
    from results.store import Store

    with mistakes_as_lines():
        folder = find_sweep(store, sweep or None)  # first, for a store that is not there has no sweep
        return Store(store), folder
