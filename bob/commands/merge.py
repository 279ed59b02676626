"""``bob merge``."""

from pathlib import Path
from typing import Annotated

import typer

from bob.commands.fsck import line_of
from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.options import StoreOptions, from_options


@from_options(StoreOptions)
def merge_command(
    options: StoreOptions,
    sources: Annotated[list[Path], typer.Argument(help="Stores to add; they are only read.")],
) -> None:
    """Add other stores to --store, every file verified, nothing replaced. Exit code 1: something was left out.

    Run it again after an interruption. Of two answers to one key the first stays, the other is kept beside it.
    """
    from bob.progress import Progress
    from results.conflicts import two_answers
    from results.merging import merge
    from results.store import Store

    left_out = 0
    with mistakes_as_lines(), Progress() as progress:
        for source in sources:
            merged = merge(source, Store(options.store), lambda done, total: progress.advance("merged", done, total))
            left_out += len(merged.left_out)
            for fault in merged.left_out:
                progress.say(f"left out of {source}: {line_of(fault, source)}")
            told = ", ".join(f"{count:,} {what}" for what, count in merged.counts.items())
            typer.echo(f"{source}: {told or 'nothing to add'}")
    for line in two_answers(options.store):
        typer.echo(line)
    raise typer.Exit(EXIT_FAILED if left_out else 0)
