"""``bob prepare``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.commands.opening import read_cluster, resolve
from bob.options import Asked, RunOptions, from_options

NO_PROOF = "--no-proof"


@from_options(Asked, RunOptions)
def prepare_command(
    asked: Asked,
    options: RunOptions,
    profile: Annotated[Path | None, typer.Option(help="A cluster's profile, to be checked as well.")] = None,
    large_downloads: Annotated[
        bool, typer.Option("--large-downloads", help="Fetch sets of tens of GB and more too, where they are offered.")
    ] = False,
    proof: Annotated[
        bool, typer.Option(f"--proof/{NO_PROOF}", help="Open and load it all once more with the network refused.")
    ] = True,
) -> None:
    """Fetch and check all that a plan needs, for machines without a network. Writes nothing but caches."""
    from bob.plan import PlanError
    from bob.prepare import fetch_tokenizers, found, needs, refused_offline

    mistakes: list[str] = []
    read_cluster(profile, mistakes)
    cells, roster = resolve(asked, options, earlier=mistakes, large_downloads=large_downloads)
    with mistakes_as_lines():
        if mistakes := fetch_tokenizers(cells, roster):
            raise PlanError(mistakes)
        for line in found(cells):
            typer.echo(line)
        if proof and (mistakes := refused_offline([*sys.argv[1:], NO_PROOF])):
            raise PlanError(mistakes)
    for line in needs(cells, [options.cache, options.store, *roster.places.roots]):
        typer.echo(line)
    typer.echo("opened and loaded without a network" if proof else "not tried without a network")
    typer.echo("not tried: whether nodes see these folders")
