"""``bob run``."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from bob.commands.boards import PAGE, everything, show_board
from bob.commands.mistakes import EXIT_FAILED, EXIT_MISTAKE, mistakes_as_lines
from bob.commands.opening import execution_of, extractor_of, resolve, rounds
from bob.options import Asked, LaunchOptions, RunOptions, TrainingOptions, Where, from_options

if TYPE_CHECKING:
    from bob.gauntlet import Summary
    from bob.plan import Cell
    from bob.progress import Progress
    from bob.roster import Roster

Runner = Callable[["Sequence[Cell]", "Roster"], "Summary"]


@from_options(Asked, LaunchOptions, RunOptions, TrainingOptions)
def run_command(asked: Asked, launching: LaunchOptions, options: RunOptions, training: TrainingOptions) -> None:
    """Run a plan (without one: the demo) and print the board. What is done already is not computed again."""
    from bob.gauntlet import Summary
    from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly
    from bob.progress import Progress
    from results.store import Store

    keys, summary = set[str](), Summary()
    with Progress() as progress:
        run = _runner(asked, launching, options, training, progress)
        try:
            with stop_cleanly():
                for also in rounds(asked, options, progress):
                    found, roster = resolve(asked, options, also)
                    cells = [cell for cell in found if cell.key not in keys]
                    keys.update(cell.key for cell in cells)
                    summary += run(cells, roster)
        except Interrupted as stop:
            progress.say(f"stopped by {stop}: everything finished is kept; the same command goes on from here")
            raise typer.Exit(EXIT_REQUEUE) from None
        except OSError as error:  # the store itself cannot be written: no cell's fault, and nothing to record it in
            progress.say(f"stopped: {error}")
            raise typer.Exit(EXIT_FAILED) from None
    show_board([each for each in everything(Store(options.store)) if each.key in keys], options.store, PAGE)
    counts = f"{summary.computed} cells computed, {summary.found} found done, {summary.refused} not applicable"
    typer.echo(f"{counts}, {len(summary.failures)} failed")
    for line in summary.failures:
        typer.echo(f"FAILED  {line}", err=True)
    raise typer.Exit(EXIT_FAILED if summary.failures else 0)


def _runner(
    asked: Asked, launching: LaunchOptions, options: RunOptions, training: TrainingOptions, progress: "Progress"
) -> Runner:
    """What computes cells at the place asked for."""
    if launching.on is Where.LOCAL:
        return _here(options, training, progress)
    if asked.watch:
        typer.echo("error: --watch runs here alone: leave out --on, or name the checkpoints in a plan", err=True)
        raise typer.Exit(EXIT_MISTAKE)

    def elsewhere(cells: "Sequence[Cell]", roster: "Roster") -> "Summary":
        from bob.sweep.places import run_elsewhere

        with mistakes_as_lines((ValueError,)):
            return run_elsewhere(cells, launching, options, training, asked.plan, progress.say)

    return elsewhere


def _here(options: RunOptions, training: TrainingOptions, progress: "Progress") -> Runner:
    from bob.gauntlet import Gauntlet
    from results.store import Store

    execution, extractor = execution_of(options, training, progress), extractor_of(options, progress)

    def here(cells: "Sequence[Cell]", roster: "Roster") -> "Summary":
        return Gauntlet(roster, Store(options.store), extractor, progress.say, execution).run(cells)

    return here
