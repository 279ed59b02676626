"""The command line: ``bob run``, ``pretrain``, ``plan``, ``list``, ``show``, ``data check``, ``leaderboard``, ``plot``.

Parses, calls, prints.

Nothing heavy is imported before a command needs it, so that help and lists answer at once.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.listing import Filters, lines_of
from bob.options import (
    Asked,
    DataOptions,
    PlotOptions,
    PretrainOptions,
    RunOptions,
    StoreOptions,
    TrainingOptions,
    from_options,
)
from tasks.catalogue import protocol_versions

if TYPE_CHECKING:
    from backbones.features import Extractor
    from backbones.training.execution import Execution
    from bob.plan import Cell
    from bob.progress import Progress
    from bob.roster import Roster
    from results.board import Board
    from results.record import Record
    from results.store import Store
    from tasks.datasets.base import OpenOptions

EXIT_FAILED, EXIT_MISTAKE = 1, 2
SPREAD = ("--backbones", "--tasks", "--datasets", "--seeds", "--set", "--probe")
"""Options that take several values without being repeated."""
PAGE = Path("outputs/leaderboard.html")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: half the time to the first line
    help="Battle of the Backbones: which pretrained backbone should I use?",
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What there is of the data on this machine.")
app.add_typer(data_app, name="data")


class Kind(StrEnum):
    """What there are lists of."""

    BACKBONES = "backbones"
    GROUPS = "groups"
    TASKS = "tasks"
    DATASETS = "datasets"
    METHODS = "methods"


class Format(StrEnum):
    """What a leaderboard can be written as."""

    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"
    HTML = "html"


def main() -> None:
    """Entry point: lists after an option need no repeated flag, and mistakes are lines, not tracebacks."""
    app(args=spread(sys.argv[1:]))


def spread(arguments: list[str]) -> list[str]:
    """Let ``--tasks A B`` mean ``--tasks A --tasks B``, as people write it.

    >>> spread(["run", "--tasks", "a", "b", "--device", "cpu"])
    ['run', '--tasks', 'a', '--tasks', 'b', '--device', 'cpu']
    """
    spreading, repeated, result = "", 0, list[str]()
    for argument in arguments:
        if argument.startswith("--"):
            spreading = argument if argument in SPREAD else ""
            repeated = 0
            result.append(argument)
            continue
        if spreading and repeated:
            result.append(spreading)
        repeated += 1
        result.append(argument)
    return result


@app.command("run")
@from_options(Asked, RunOptions, TrainingOptions)
def run_command(asked: Asked, options: RunOptions, training: TrainingOptions) -> None:
    """Run a plan (without one: the demo) and print the board. What is done already is not computed again."""
    from bob.gauntlet import Gauntlet, Summary
    from bob.interrupt import EXIT_REQUEUE, Interrupted, stop_cleanly
    from bob.progress import Progress
    from results.store import Store

    keys, summary = set[str](), Summary()
    with Progress() as progress:
        execution, extractor = _execution(options, training, progress), _extractor(options, progress)
        try:
            with stop_cleanly():
                for also in _rounds(asked, options, progress):
                    found, roster = _resolve(asked, options, also)
                    cells = [cell for cell in found if cell.key not in keys]
                    keys.update(cell.key for cell in cells)
                    summary += Gauntlet(roster, Store(options.store), extractor, progress.say, execution).run(cells)
        except Interrupted as stop:
            progress.say(f"stopped by {stop}: everything finished is kept; the same command goes on from here")
            raise typer.Exit(EXIT_REQUEUE) from None
        except OSError as error:  # the store itself cannot be written: no cell's fault, and nothing to record it in
            progress.say(f"stopped: {error}")
            raise typer.Exit(EXIT_FAILED) from None
    _show_board([each for each in _everything(Store(options.store)) if each.key in keys], options.store, PAGE)
    counts = f"{summary.computed} cells computed, {summary.found} found done, {summary.refused} not applicable"
    typer.echo(f"{counts}, {len(summary.failures)} failed")
    for line in summary.failures:
        typer.echo(f"FAILED  {line}", err=True)
    raise typer.Exit(EXIT_FAILED if summary.failures else 0)


@app.command("pretrain")
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
        execution = _execution(options, training, progress)
        with _mistakes_as_lines():
            prepared = prepare(method, asked, _open_options(options), execution)
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


@app.command("plan")
@from_options(Asked, RunOptions)
def plan_command(asked: Asked, options: RunOptions) -> None:
    """What would run: each cell done, stale, failed before or to do, and why. Computes nothing."""
    from bob.gauntlet import states
    from results.store import Store

    cells, _ = _resolve(asked, options)
    found = list(states(cells, Store(options.store)))
    for cell, state, why in found:
        typer.echo(f"{state:<14}  {cell.backbone}  {cell.address.setting()}  seed {cell.seed}  ({why})")
    counts = {state: sum(each is state for _, each, _ in found) for _, state, _ in found}
    typer.echo(f"{len(found)} cells: " + ", ".join(f"{count} {state}" for state, count in counts.items()))


@app.command("list")
@from_options(Filters)
def list_command(
    filters: Filters,
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    pattern: Annotated[str, typer.Argument(help="Only names that match, * and ? allowed.")] = "*",
) -> None:
    """Every backbone, group of backbones, task, dataset or method of pretraining there is."""
    with _mistakes_as_lines():
        lines = lines_of(kind.value, pattern, filters)
    for line in lines:
        typer.echo(line)
    if not lines:
        typer.echo(f"no {kind} match {pattern!r}", err=True)
        raise typer.Exit(EXIT_FAILED)


@app.command("show")
@from_options(RunOptions)
def show_command(
    options: RunOptions, name: Annotated[str, typer.Argument(help="A backbone, task, dataset or method.")]
) -> None:
    """All that is known of a backbone, task, dataset or method; of a reader or source, how references are written."""
    from bob.show import describe

    with _mistakes_as_lines():
        typer.echo(describe(name, _open_options(options)))


@data_app.command("check")
@from_options(RunOptions)
def data_check_command(
    options: RunOptions,
    name: Annotated[str, typer.Argument(help="A dataset.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch it where it is offered and not here.")] = False,
) -> None:
    """Hold a dataset on disk against its official counts and manifest. Exit code 1: it differs; 2: it is not here."""
    from bob.data import check

    with _mistakes_as_lines():
        opening = replace(_open_options(options), download=download, large_downloads=download)
        lines, sound = check(name, opening, options.store)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if sound else EXIT_FAILED)


@app.command("certify")
@from_options(RunOptions)
def certify_command(options: RunOptions, name: Annotated[str, typer.Argument(help="A backbone.")]) -> None:
    """Hold a backbone against its library and the contract, and keep the certificate in the store."""
    from bob.certify import certify

    with _mistakes_as_lines():
        certificate, path = certify(name, _open_options(options).places, options.store, typer.echo)
    typer.echo(f"{'certified' if certificate.holds else 'NOT certified'}: {path}")
    raise typer.Exit(0 if certificate.holds else EXIT_FAILED)


@app.command("leaderboard")
@from_options(StoreOptions)
def leaderboard_command(
    options: StoreOptions,
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.MARKDOWN,
    out: Annotated[Path | None, typer.Option(help="A file instead of the terminal.")] = None,
    without_cost: Annotated[
        bool, typer.Option("--without-cost", help="No measured times: the same results give the same bytes.")
    ] = False,
) -> None:
    """The board of everything in the store."""
    from results.formats import renderer
    from results.store import Store

    text = renderer(format.value)(_board(_everything(Store(options.store)), options.store, not without_cost))
    if out is None:
        typer.echo(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")


@app.command("plot")
@from_options(PlotOptions)
def plot_command(options: PlotOptions) -> None:
    """Draw every plot that the store has records for."""
    from bob.plot import PlotsError, draw_all
    from results.store import Store

    with _mistakes_as_lines():
        try:
            for line in draw_all(Store(options.store), options.output, _open_options(options)):
                typer.echo(line)
        except PlotsError as error:
            for line in error.lines:
                typer.echo(f"FAILED  {line}", err=True)
            raise typer.Exit(EXIT_FAILED) from None


@contextmanager
def _mistakes_as_lines() -> Iterator[None]:
    """What a person can mend is told in lines and exit code 2; anything else keeps its traceback."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        for line in getattr(error, "lines", [str(error)]):
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(EXIT_MISTAKE) from None


def _open_options(options: DataOptions) -> "OpenOptions":
    from backbones.places import Places
    from tasks.datasets.base import OpenOptions

    places = Places(tuple(dict.fromkeys([options.data_root, Path(".")])), options.trust)
    return OpenOptions(places, options.cache, options.skip_unreadable, drop_bad_boxes=options.drop_bad_boxes)


def _rounds(asked: Asked, options: RunOptions, progress: "Progress") -> Iterator[list[str]]:
    """What is to be run beside what is asked for: checkpoints of a run that is watched, a list each time some come."""
    from bob.watch import watched

    if not asked.watch:
        yield []
        return
    with _mistakes_as_lines():
        yield from watched(asked.watch, _open_options(options).places, progress.say)


def _resolve(asked: Asked, options: RunOptions, also: Sequence[str] = ()) -> "tuple[list[Cell], Roster]":
    from backbones.catalogue import left_out
    from bob.plan import read_plan, resolve
    from bob.roster import Roster

    with _mistakes_as_lines():
        opening = _open_options(options)
        if asked.plan is not None:
            opening = replace(opening, places=opening.places.beside(asked.plan))
        mistakes: list[str] = []
        roster, plan = Roster(opening.places), read_plan(asked, mistakes, also)
        for line in left_out(plan.backbones):
            typer.echo(line, err=True)
        return resolve(plan, roster, opening, options.precision.value, mistakes), roster


def _extractor(options: RunOptions, progress: "Progress") -> "Extractor":
    from backbones.features import Extractor, ExtractSettings, usable_cores

    with _mistakes_as_lines():
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


def _execution(options: RunOptions, training: TrainingOptions, progress: "Progress") -> "Execution":
    from backbones.features import usable_cores
    from backbones.training.execution import Execution

    return Execution(
        device=options.device,
        precision=options.precision.value,
        workers=options.workers or usable_cores(),
        report=progress.advance,
        **{**vars(training), "strategy": training.strategy.value},
    )


def _everything(store: "Store") -> "list[Record]":
    return [*store.records(), *store.failures()]


def _board(records: "Sequence[Record]", store: Path, include_cost: bool = True) -> "Board":
    from results.board import board
    from results.certificates import certified
    from results.items import headline_items, score_values
    from results.store import Store

    versions = protocol_versions({record.cell.task for record in records})
    kept = Store(store)
    items_of, values_of = partial(headline_items, kept), partial(score_values, kept)
    return board(records, versions, include_cost, certified(store), items_of, values_of)


def _show_board(records: "Sequence[Record]", store: Path, page: Path) -> None:
    from results.formats import renderer
    from results.terminal import print_board

    board = _board(records, store)
    print_board(board)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(renderer(Format.HTML.value)(board), encoding="utf-8")
    typer.echo(f"the same board as a page: {page}")


if __name__ == "__main__":
    main()
