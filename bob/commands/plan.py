"""``bob plan``."""

import typer

from bob.commands.opening import resolve
from bob.options import Asked, RunOptions, from_options


@from_options(Asked, RunOptions)
def plan_command(asked: Asked, options: RunOptions) -> None:
    """What would run: each cell done, stale, failed before or to do, and why. Computes nothing."""
    from bob.gauntlet import states
    from results.store import Store

    cells, _ = resolve(asked, options)
    found = list(states(cells, Store(options.store)))
    for cell, state, why in found:
        typer.echo(f"{state:<14}  {cell.backbone}  {cell.address.setting()}  seed {cell.seed}  ({why})")
    counts = {state: sum(each is state for _, each, _ in found) for _, state, _ in found}
    typer.echo(f"{len(found)} cells: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
