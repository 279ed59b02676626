"""The board in the terminal: one table where it fits, else averages first and settings below, as many as fit."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.board import Board
from results.formats import words
from results.trend import Trend

NAME, AVERAGES, SETTING = 30, 12, 14
"""Widths a column needs: the backbone's name, an average, a setting's ``81.3 ±1.8``."""


def print_board(board: Board) -> None:
    """Print it on standard output. Settings are numbered in the head and spelled out below."""
    console = Console()
    if not board.rows:
        console.print(words.EMPTY, markup=False)
        return
    heads = [*words.headers(board), *(f"[{position}]" for position in range(1, len(board.columns) + 1))]
    lines = [[*words.leading(row, board), *map(words.short_entry, row.entries, board.columns)] for row in board.rows]
    for columns in _parts(len(words.headers(board)), len(heads), console.width):
        console.print(_table(board, heads, lines, columns))
    for position, column in enumerate(board.columns, start=1):
        console.print(f"[{position}] {words.title(column)}", markup=False, highlight=False)
    console.print(words.LEGEND, markup=False, highlight=False, style="dim")
    for trend in board.trends:
        console.print(_trend(trend))
    if board.trends:
        console.print(words.ROBUSTNESS_LEGEND, markup=False, highlight=False, style="dim")
    for line in board.divisions:
        console.print(f"{words.DIVIDED}: {line}", markup=False, highlight=False)
    for remark in board.remarks:
        console.print(remark, markup=False, highlight=False)


def _trend(trend: Trend) -> Table:
    title = Text(f"{words.ROBUSTNESS}: {words.trend_title(trend)}")
    table = Table(title=title, title_justify="left", header_style="bold")
    for column, head in enumerate(words.ROBUSTNESS_HEADS):
        table.add_column(head, justify="right" if column else "left", overflow="fold", no_wrap=column > 0)
    for row in trend.backbones:
        table.add_row(*map(Text, words.robustness(row)))
    return table


def _parts(leading: int, total: int, width: int) -> list[list[int]]:
    """The columns of each table; the first column, the name, is in all of them.

    >>> _parts(5, 8, 200), _parts(5, 8, 60)
    ([[0, 1, 2, 3, 4, 5, 6, 7]], [[0, 1, 2, 3, 4], [0, 5, 6], [0, 7]])
    """
    if NAME + AVERAGES * (leading - 1) + SETTING * (total - leading) <= width:
        return [list(range(total))]
    fitting = max(1, (width - NAME) // SETTING)
    chunks = [list(range(start, min(start + fitting, total))) for start in range(leading, total, fitting)]
    return [list(range(leading)), *([0, *chunk] for chunk in chunks)]


def _table(board: Board, heads: Sequence[str], lines: Sequence[Sequence[str]], columns: Sequence[int]) -> Table:
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(
            Text(heads[column]), justify="right" if column else "left", overflow="fold", no_wrap=column > 0
        )
    for row, line in zip(board.rows, lines, strict=True):
        table.add_row(*(Text(line[column]) for column in columns), style="dim" if row.facts.baseline else None)
    return table
