"""The board as a GitHub-flavoured Markdown table."""

from collections.abc import Sequence

from results.board import Board
from results.formats import words
from results.names import visible
from results.trend import Trend

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|"} | {"&": "&amp;"})


def render(board: Board) -> str:
    """A table, what its numbers mean, and what is not in it."""
    if not board.rows:
        return words.EMPTY
    titles = [*words.headers(board), *map(words.title, board.columns)]
    rows = [[*words.leading(row, board), *map(words.entry, row.entries, board.columns)] for row in board.rows]
    lines = [line(titles), line(["---"] + ["---:"] * (len(titles) - 1), escape=False), *map(line, rows)]
    divisions = ["", f"{words.DIVIDED}:", "", *bullets(board.divisions, 400)] if board.divisions else []
    remarks = ["", *bullets(board.remarks, 200)] if board.remarks else []
    trends = ["", f"{words.ROBUSTNESS}: {words.ROBUSTNESS_LEGEND}"] if board.trends else []
    for trend in board.trends:
        trends += ["", words.trend_title(trend).translate(_SPECIAL), "", *_trend(trend)]
    return "\n".join([*lines, "", words.LEGEND.replace("*", "\\*"), *trends, *divisions, *remarks])


def _trend(trend: Trend) -> list[str]:
    titles = words.ROBUSTNESS_HEADS
    head = [line(titles), line(["---"] + ["---:"] * (len(titles) - 1), escape=False)]
    return [*head, *(line(words.robustness(row)) for row in trend.backbones)]


def bullets(texts: Sequence[str], longest: int) -> list[str]:
    """A list; texts longer than that are cut."""
    return [f"- {visible(text, longest).translate(_SPECIAL)}" for text in texts]


def line(cells: Sequence[str], escape: bool = True) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.translate(_SPECIAL) if escape else cell for cell in cells) + " |"
