"""``bob leaderboard``, ``bob plot``, and the board that ends a run."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.mistakes import EXIT_FAILED, mistakes_as_lines
from bob.commands.opening import open_options
from bob.options import PlotOptions, StoreOptions, from_options
from tasks.catalogue import protocol_versions

if TYPE_CHECKING:
    from results.board import Board
    from results.record import Record
    from results.store import Store

PAGE = Path("outputs/leaderboard.html")


class Format(StrEnum):
    """What a leaderboard can be written as."""

    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"
    HTML = "html"


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
    from results.foreign import foreign_tables
    from results.formats import foreign, renderer
    from results.store import Store

    text = renderer(format.value)(board_of(everything(Store(options.store)), options.store, not without_cost))
    if format is Format.MARKDOWN:
        text = "\n\n".join([text, *map(foreign.render, foreign_tables(options.store))])
    if out is None:
        typer.echo(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")


@from_options(PlotOptions)
def plot_command(options: PlotOptions) -> None:
    """Draw every plot that the store has records for."""
    from bob.plot import PlotsError, draw_all
    from results.store import Store

    with mistakes_as_lines():
        try:
            for line in draw_all(Store(options.store), options.output, open_options(options)):
                typer.echo(line)
        except PlotsError as error:
            for line in error.lines:
                typer.echo(f"FAILED  {line}", err=True)
            raise typer.Exit(EXIT_FAILED) from None


def everything(store: "Store") -> "list[Record]":
    """All that is done, and the failures that nothing done has replaced."""
    return [*store.records(), *store.failures()]


def board_of(records: "Sequence[Record]", store: Path, include_cost: bool = True) -> "Board":
    """The board of these records, which are in that store."""
    from results.board import board
    from results.certificates import certified
    from results.conflicts import two_answers
    from results.items import headline_items, score_values
    from results.store import Store

    versions = protocol_versions({record.cell.task for record in records})
    kept = Store(store)
    items_of, values_of = partial(headline_items, kept), partial(score_values, kept)
    made = board(records, versions, include_cost, certified(store), items_of, values_of)
    return replace(made, remarks=(*made.remarks, *two_answers(store)))


def show_board(records: "Sequence[Record]", store: Path, page: Path) -> None:
    """Print the board, and write it as a page."""
    from results.formats import renderer
    from results.terminal import print_board

    made = board_of(records, store)
    print_board(made)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(renderer(Format.HTML.value)(made), encoding="utf-8")
    typer.echo(f"the same board as a page: {page}")
