"""``bob data check`` and ``bob certify``."""

from dataclasses import replace
from typing import Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.commands.opening import open_options
from bob.options import RunOptions, from_options


@from_options(RunOptions)
def data_check_command(
    options: RunOptions,
    name: Annotated[str, typer.Argument(help="A dataset.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch it where it is offered and not here.")] = False,
) -> None:
    """Hold a dataset on disk against its official counts and manifest. Exit code 1: it differs; 2: it is not here."""
    from bob.data import check

    with mistakes_as_lines():
        opening = replace(open_options(options), download=download, large_downloads=download)
        lines, sound = check(name, opening, options.store)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if sound else EXIT_FAILED)


@from_options(RunOptions)
def certify_command(options: RunOptions, name: Annotated[str, typer.Argument(help="A backbone.")]) -> None:
    """Hold a backbone against its library and the contract, and keep the certificate in the store."""
    from bob.certify import certify

    with mistakes_as_lines():
        certificate, path = certify(name, open_options(options).places, options.store, typer.echo)
    typer.echo(f"{'certified' if certificate.holds else 'NOT certified'}: {path}")
    raise typer.Exit(0 if certificate.holds else EXIT_FAILED)
