"""``bob import``."""

from pathlib import Path
from typing import Annotated

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.options import StoreOptions, from_options


@from_options(StoreOptions)
def import_command(
    options: StoreOptions,
    file: Annotated[Path, typer.Argument(help="CSV: backbone, setting (or task and dataset), metric, value, source.")],
) -> None:
    """Keep published numbers beside the store's own: shown below the board with their source, in no rank or test."""
    from results.foreign import keep, read_csv

    with mistakes_as_lines():
        table = read_csv(file)
        fresh = keep(table, options.store)
    names = len({figure.backbone for figure in table.figures})
    told = f"{len(table.figures):,} figures of {names:,} backbones"
    typer.echo(f"{told}: {'kept as foreign, bob leaderboard shows them below the board' if fresh else 'there already'}")
