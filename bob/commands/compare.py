"""``bob compare``."""

from typing import Annotated

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.options import StoreOptions, from_options


@from_options(StoreOptions)
def compare_command(
    options: StoreOptions,
    first: Annotated[str, typer.Argument(metavar="A", help="A backbone of the store.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
) -> None:
    """Which of two backbones is better in each setting, by how much, and what could have been seen."""
    from bob.compare import compare
    from bob.verdicts import print_match
    from results.store import Store

    with mistakes_as_lines():
        match = compare(Store(options.store), first, second)
    print_match(match)
