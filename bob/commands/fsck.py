"""``bob fsck``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.options import StoreOptions, from_options

if TYPE_CHECKING:
    from results.inspection import Fault, Findings

MOST = 20
"""Files told by name, of those that are nobody's."""


@from_options(StoreOptions)
def fsck_command(
    options: StoreOptions,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move what is damaged to quarantine, remove what nobody alive holds.")
    ] = False,
) -> None:
    """Every record and file of the store held against its hash. Exit code 1: damage was found. Changes nothing itself.

    What is moved to quarantine is computed again by the next bob run.
    """
    from bob.progress import Progress
    from results.inspection import inspect
    from results.leftovers import clean, leftovers

    with mistakes_as_lines():
        if not options.store.is_dir():
            raise ValueError(f"no store at {options.store}: pass --store")
        left = clean(options.store) if repair else leftovers(options.store)
        with Progress() as progress:
            found = inspect(options.store, repair, lambda done, total: progress.advance("verified", done, total))
    _tell(options.store, found)
    if told := ", ".join(f"{count:,} {kind}" for kind, count in left.items() if count):
        typer.echo(f"removed: {told}" if repair else f"left over: {told} (--repair removes what nobody alive holds)")
    if found.faults:
        advice = "" if repair else "; bob fsck --repair moves it to quarantine, bob run computes it again"
        typer.echo(f"NOT SOUND: {len(found.faults):,} damaged{advice}")
        raise typer.Exit(EXIT_FAILED)
    typer.echo("sound")


def _tell(store: Path, found: "Findings") -> None:
    from results.conflicts import two_answers
    from results.names import visible

    counted = [f"{count:,} {kind}" for kind, count in found.counts.items() if count]
    typer.echo(f"verified: {', '.join(counted) or 'an empty store'}")
    for fault in found.faults:
        typer.echo(f"damaged: {line_of(fault, store)}")
    for fault in found.of_other_releases:
        typer.echo(f"of another release, left alone: {line_of(fault, store)}")
    for line in two_answers(store):
        typer.echo(line)
    for path in found.unnamed[:MOST]:
        typer.echo(f"of no record, left alone: {visible(str(path.relative_to(store)), 400)}")
    if len(found.unnamed) > MOST:
        typer.echo(f"and {len(found.unnamed) - MOST:,} more files of no record")


def line_of(fault: "Fault", store: Path) -> str:
    """Where, what and why, in a line."""
    from results.names import visible

    cell = f" ({fault.cell})" if fault.cell else ""
    moved = f"; moved to {fault.moved}" if fault.moved else ""
    return visible(f"{fault.path.relative_to(store)}{cell}: {fault.why}{moved}", 1000)
