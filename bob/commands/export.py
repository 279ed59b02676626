"""``bob export``."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.boards import board_of, everything
from bob.commands.mistakes import mistakes_as_lines
from bob.options import StoreOptions, from_options
from tasks.catalogue import protocol_versions

if TYPE_CHECKING:
    from results.record import Record
    from results.tidy import Row


class Form(StrEnum):
    """What results can be exported as."""

    PARQUET = "parquet"
    CSV = "csv"
    LATEX = "latex"
    MODEL_INDEX = "model-index"


@from_options(StoreOptions)
def export_command(
    options: StoreOptions,
    out: Annotated[Path | None, typer.Argument(help="A file instead of the terminal; parquet needs one.")] = None,
    to: Annotated[Form, typer.Option(help="A row a score, or a table for a paper or a model card.")] = Form.CSV,
    setting: Annotated[str, typer.Option(help="latex: a column of the board, as bob leaderboard calls it.")] = "",
    top: Annotated[int, typer.Option(help="latex: backbones of each size class.", min=1)] = 3,
    backbone: Annotated[str, typer.Option(help="model-index: whose card it is for.")] = "",
) -> None:
    """Results for other programs: every score of the store, the best of each size, a model card's metadata."""
    with mistakes_as_lines():
        if to is not Form.PARQUET:
            _write(_text(to, options.store, setting, top, backbone), out)
        elif out is not None:
            _write_parquet(options.store, out)
        else:
            raise ValueError("bob export OUT --to parquet: parquet is for a file")
    if out is not None:
        typer.echo(f"wrote {out}")


def _text(to: Form, store: Path, setting: str, top: int, backbone: str) -> Iterable[str]:
    if to is Form.CSV:
        from results.tidy import csv_lines

        return csv_lines(_tidy(store))
    if to is Form.LATEX:
        from results.formats.size_classes import render

        return [render(board_of(_records(store), store), setting, top)]
    from results.model_index import model_index

    return [model_index(backbone, _comparable(_records(store)))]


def _records(store: Path) -> "list[Record]":
    from results.store import Store

    if not store.is_dir():
        raise ValueError(f"no store at {store}: pass --store")
    return everything(Store(store))


def _comparable(records: "list[Record]") -> "list[Record]":
    from results.board import comparable

    return comparable(records, protocol_versions({record.cell.task for record in records}))


def _tidy(store: Path) -> "Iterator[Row]":
    from results.tidy import rows

    records = _records(store)
    return rows(records, {record.key for record in _comparable(records)})


def _write_parquet(store: Path, out: Path) -> None:
    from results.tidy import write_parquet

    table = _tidy(store)
    with _whole(out) as path:
        write_parquet(table, path)


def _write(text: Iterable[str], out: Path | None) -> None:
    if out is None:
        sys.stdout.writelines(text)
        return
    with _whole(out) as path, path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(text)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A path to write to, that takes the place of ``out`` once all is written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        yield fresh
        os.replace(fresh, out)
    finally:
        fresh.unlink(missing_ok=True)
