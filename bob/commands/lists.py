"""``bob list`` and ``bob show``."""

from enum import StrEnum
from typing import Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.commands.opening import open_options
from bob.listing import Filters, lines_of
from bob.options import RunOptions, from_options


class Kind(StrEnum):
    """What there are lists of."""

    BACKBONES = "backbones"
    GROUPS = "groups"
    TASKS = "tasks"
    DATASETS = "datasets"
    METHODS = "methods"


@from_options(Filters)
def list_command(
    filters: Filters,
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    pattern: Annotated[str, typer.Argument(help="Only names that match, * and ? allowed.")] = "*",
) -> None:
    """Every backbone, group of backbones, task, dataset or method of pretraining there is."""
    with mistakes_as_lines():
        lines = lines_of(kind.value, pattern, filters)
    for line in lines:
        typer.echo(line)
    if not lines:
        typer.echo(f"no {kind} match {pattern!r}", err=True)
        raise typer.Exit(EXIT_FAILED)


@from_options(RunOptions)
def show_command(
    options: RunOptions, name: Annotated[str, typer.Argument(help="A backbone, task, dataset or method.")]
) -> None:
    """All that is known of a backbone, task, dataset or method; of a reader or source, how references are written."""
    from bob.show import describe

    with mistakes_as_lines():
        typer.echo(describe(name, open_options(options)))
