"""``bob retry``."""

from typing import Annotated

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.commands.sweeps import SweepArgument, opened
from bob.options import StoreOptions, from_options


@from_options(StoreOptions)
def retry_command(
    options: StoreOptions,
    sweep: SweepArgument = "",
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed; there are no others to retry.")] = False,
    cause: Annotated[list[str], typer.Option(help="Only those that failed by it (oom, killed, ...).")] = [],  # noqa: B006
) -> None:
    """Let the next bob run try again what has failed. Traces of what happened are kept; nothing is started."""
    from bob.sweep.retrying import causes_of, forgive

    with mistakes_as_lines():
        if not failed:
            raise ValueError("bob retry: say --failed, and --cause to choose among them")
        causes = causes_of(cause)
    store, folder = opened(options.store, sweep)
    with mistakes_as_lines():
        roll, forgiven, to_run = forgive(store, folder, causes)
    again = f"bob run {roll.plan}" if roll.plan else "bob run"
    typer.echo(f"{forgiven:,} failed cells of sweep {roll.name} are to be tried again")
    typer.echo(f"the next {again} will run {to_run:,} cells")
