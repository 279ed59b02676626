"""``bob cancel``."""

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.commands.sweeps import SweepArgument, opened
from bob.options import StoreOptions, from_options


@from_options(StoreOptions)
def cancel_command(options: StoreOptions, sweep: SweepArgument = "") -> None:
    """End a sweep's jobs. What is done stays done, what runs keeps its checkpoint; bob run goes on from there."""
    from bob.sweep.cancelling import cancel
    from slurm.place import UnreachableError

    _, folder = opened(options.store, sweep)
    with mistakes_as_lines((ValueError, OSError, UnreachableError)):
        jobs = cancel(folder)
    told = "its launcher ends the jobs" if jobs is None else f"{jobs:,} jobs were told to end"
    typer.echo(f"sweep {folder.name} is cancelled: {told}, and nothing more is submitted")
