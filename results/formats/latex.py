"""The board as a LaTeX table; needs the package booktabs."""

from results.board import Board
from results.formats import words

_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "—": "--", "⚠": "!", "…": r"\ldots{}", "·": r"\textperiodcentered{}",
}  # fmt: skip


def render(board: Board) -> str:
    """One tabular, a row a backbone."""
    if not board.rows:
        return f"% {words.EMPTY}"
    titles = [*words.headers(board), *map(words.title, board.columns)]
    lines = [[*words.leading(row, board), *map(words.entry, row.entries, board.columns)] for row in board.rows]
    body = [" & ".join(map(escape, cells)) + r" \\" for cells in lines]
    return "\n".join([
        rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}", r"\toprule", " & ".join(map(escape, titles)) + r" \\",
        r"\midrule", *body, r"\bottomrule", r"\end{tabular}",
    ])  # fmt: skip


def escape(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return "".join(_SPECIAL.get(character, character) for character in text)
