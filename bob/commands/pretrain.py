"""``bob pretrain``."""

from typing import Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, EXIT_MISTAKE, mistakes_as_lines
from bob.commands.opening import execution_of, open_options
from bob.options import PretrainOptions, RunOptions, TrainingOptions, from_options


@from_options(PretrainOptions, RunOptions, TrainingOptions)
def pretrain_command(
    asked: PretrainOptions,
    options: RunOptions,
    training: TrainingOptions,
    method: Annotated[str, typer.Argument(help="What to train by (bob list methods).")],
) -> None:
    """Train a backbone without labels and publish it as checkpoint:RUN@STEP. The same command goes on where it was."""
    from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly
    from bob.plan import PlanError
    from bob.pretrain import STOPPED, prepare, train
    from bob.progress import Progress

    with Progress() as progress:
        execution = execution_of(options, training, progress)
        with mistakes_as_lines():
            prepared = prepare(method, asked, open_options(options), execution)
        try:
            with stop_cleanly():
                published = train(prepared, asked, execution, progress)
        except Interrupted as stop:
            progress.say(f"stopped by {stop}: the same command goes on from here")
            raise typer.Exit(EXIT_REQUEUE) from None
        except PlanError as error:
            for line in error.lines:
                progress.say(f"error: {line}")
            raise typer.Exit(EXIT_MISTAKE) from None
        except STOPPED as error:
            progress.say(f"stopped: {error}; the same command goes on from the last checkpoint")
            raise typer.Exit(EXIT_FAILED) from None
    typer.echo(f"published {published}")
