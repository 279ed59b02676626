"""``bob work``: what jobs of a sweep run; people have no need of it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED
from bob.interrupt import EXIT_REQUEUE


def work_command(
    folder: Annotated[Path, typer.Argument(help="Folder of the sweep, in its store.")],
    keys: Annotated[Path, typer.Argument(help="A file with the keys of the cells, a JSON list.")],
) -> None:
    """Compute these cells of a sweep. Exit code 0: all are settled, here or elsewhere; 1: some failed."""
    from bob.interrupt import Interrupted, stop_cleanly
    from bob.sweep.duty import do_duty

    try:
        with stop_cleanly():
            failures = do_duty(folder, json.loads(keys.read_bytes()))
    except Interrupted as stop:
        typer.echo(f"stopped by {stop}: everything finished is kept")
        raise typer.Exit(EXIT_REQUEUE) from None
    raise typer.Exit(EXIT_FAILED if failures else 0)
