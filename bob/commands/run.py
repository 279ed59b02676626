"""``bob run``."""

import typer

from bob.commands.boards import PAGE, everything, show_board
from bob.commands.mistakes import EXIT_FAILED
from bob.commands.opening import execution_of, extractor_of, resolve, rounds
from bob.options import Asked, RunOptions, TrainingOptions, from_options


@from_options(Asked, RunOptions, TrainingOptions)
def run_command(asked: Asked, options: RunOptions, training: TrainingOptions) -> None:
    """Run a plan (without one: the demo) and print the board. What is done already is not computed again."""
    from bob.gauntlet import Gauntlet, Summary
    from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly
    from bob.progress import Progress
    from results.store import Store

    keys, summary = set[str](), Summary()
    with Progress() as progress:
        execution, extractor = execution_of(options, training, progress), extractor_of(options, progress)
        try:
            with stop_cleanly():
                for also in rounds(asked, options, progress):
                    found, roster = resolve(asked, options, also)
                    cells = [cell for cell in found if cell.key not in keys]
                    keys.update(cell.key for cell in cells)
                    summary += Gauntlet(roster, Store(options.store), extractor, progress.say, execution).run(cells)
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
