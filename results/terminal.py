"""The board in the terminal: backbones down, and as many settings across as it has room for."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.board import Board
from results.formats import words


def print_board(board: Board) -> None:
    """Print it on standard output. Settings are numbered in the head and spelled out below."""
    console = Console()
    if not board.rows:
        console.print(words.EMPTY, markup=False)
        return
    table = Table(caption_justify="left", header_style="bold")
    for position, head in enumerate(words.headers(board)):
        left = {"justify": "left", "min_width": 26, "overflow": "fold"} if position == 0 else {"no_wrap": True}
        table.add_column(head, **{"justify": "right", **left})  # type: ignore[arg-type]
    for position in range(len(board.columns)):
        table.add_column(f"[{position + 1}]".replace("[", r"\["), justify="right")
    for row in board.rows:
        cells = [*words.leading(row, board), *map(words.short_entry, row.entries, board.columns)]
        table.add_row(*map(Text, cells), style="dim" if row.facts.baseline else None)
    console.print(table)
    for position, column in enumerate(board.columns):
        console.print(f"[{position + 1}] {words.title(column)}", markup=False, highlight=False)
    console.print(words.LEGEND, markup=False, highlight=False, style="dim")
    for remark in board.remarks:
        console.print(remark, markup=False, highlight=False)
