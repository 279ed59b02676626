"""What options stand for: where things are looked for, the cells of a plan, how features and trainings are made."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bob.commands.mistakes import mistakes_as_lines
from bob.options import Asked, DataOptions, RunOptions, TrainingOptions

if TYPE_CHECKING:
    from backbones.features import Extractor
    from backbones.training.execution import Execution
    from bob.plan import Cell
    from bob.progress import Progress
    from bob.roster import Roster
    from slurm.profile import Profile
    from tasks.datasets.base import OpenOptions


def open_options(options: DataOptions) -> "OpenOptions":
    """Where and how data sets, cards and weights are opened."""
    from backbones.places import Places
    from tasks.datasets.base import OpenOptions

    places = Places(tuple(dict.fromkeys([options.data_root, Path(".")])), options.trust)
    return OpenOptions(places, options.cache, options.skip_unreadable, drop_bad_boxes=options.drop_bad_boxes)


def rounds(asked: Asked, options: RunOptions, progress: "Progress") -> Iterator[list[str]]:
    """What is to be run beside what is asked for: checkpoints of a run that is watched, a list each time some come."""
    from bob.watch import watched

    if not asked.watch:
        yield []
        return
    with mistakes_as_lines():
        yield from watched(asked.watch, open_options(options).places, progress.say)


def resolve(
    asked: Asked,
    options: RunOptions,
    also: Sequence[str] = (),
    earlier: Sequence[str] = (),
    large_downloads: bool = False,
) -> "tuple[list[Cell], Roster]":
    """The cells of what is asked for, and the backbones loaded for it.

    Mistakes end the command, all told at once, ``earlier`` ones (in a profile) among them.
    """
    from backbones.catalogue import left_out
    from bob.plan import PlanError, read_plan, resolve
    from bob.roster import Roster

    with mistakes_as_lines():
        opening = replace(open_options(options), large_downloads=large_downloads)
        if asked.plan is not None:
            opening = replace(opening, places=opening.places.beside(asked.plan))
        mistakes = list(earlier)
        try:
            roster, plan = Roster(opening.places), read_plan(asked, mistakes, also)
        except PlanError as error:
            raise PlanError([*mistakes, *error.lines]) from None
        for line in left_out(plan.backbones):
            typer.echo(line, err=True)
        return resolve(plan, roster, opening, options.precision.value, mistakes), roster


def read_cluster(path: Path | None, mistakes: list[str]) -> "Profile | None":
    """A cluster's profile, where one is given; what is wrong with it is added to the mistakes."""
    from bob.cluster_profile import read_profile
    from bob.plan import PlanError

    try:
        return None if path is None else read_profile(path)
    except PlanError as error:
        mistakes += error.lines
        return None


def extractor_of(options: RunOptions, progress: "Progress") -> "Extractor":
    """Makes features and caches them; progress is told of images."""
    from backbones.features import Extractor, ExtractSettings, usable_cores

    with mistakes_as_lines():
        return Extractor(
            ExtractSettings(
                cache=options.cache,
                device=options.device,
                workers=options.workers or usable_cores(),
                precision=options.precision.value,
                storage=options.storage.value,
            ),
            progress.advance,
        )


def execution_of(options: RunOptions, training: TrainingOptions, progress: "Progress") -> "Execution":
    """How trainings run here; progress is told of steps."""
    from backbones.features import usable_cores
    from backbones.training.execution import Execution

    return Execution(
        device=options.device,
        precision=options.precision.value,
        workers=options.workers or usable_cores(),
        report=progress.advance,
        **{**vars(training), "strategy": training.strategy.value},
    )
