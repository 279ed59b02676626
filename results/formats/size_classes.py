"""The best of each size on one setting, as a LaTeX table; needs the package booktabs."""

from collections.abc import Sequence

from results.board import Board, Row
from results.formats import words
from results.formats.latex import escape

CLASSES = (
    ("small", "fewer than 30 M parameters", 0, 30e6),
    ("medium", "30 M to 150 M parameters", 30e6, 150e6),
    ("large", "more than 150 M parameters", 150e6, float("inf")),
)
"""Name, in words, from, to. One of 30 M or of 150 M is medium."""


def render(board: Board, setting: str, top: int) -> str:
    """The ``top`` candidates of every size class by the mean over seeds, with intervals; no baselines.

    Raises ``ValueError`` with those there are for a setting that the board has not.
    """
    place = _place(board, setting)
    column = board.columns[place]
    lines = [
        r"\begin{tabular}{rlrr}", r"\toprule",
        rf" & backbone & params (M) & {escape(words.title(column))} \\",
    ]  # fmt: skip
    for name, told, _, _ in CLASSES:
        lines += [r"\midrule", rf"\multicolumn{{4}}{{l}}{{\emph{{{name}}}: {told}}} \\"]
        best = [row for row in _ranked(board, place) if size_class(row.facts.parameters) == name][:top]
        for rank, row in enumerate(best, start=1):
            cells = (str(rank), words.backbone(row), words.parameters(row), words.entry(row.entries[place], column))
            lines.append(" & ".join(map(escape, cells)) + r" \\")
        if not best:
            lines.append(r" & -- & & \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def size_class(parameters: int) -> str:
    """
    >>> size_class(29_999_999), size_class(30_000_000), size_class(150_000_000), size_class(150_000_001)
    ('small', 'medium', 'medium', 'large')
    """
    if parameters < CLASSES[1][2]:
        return "small"
    return "medium" if parameters <= CLASSES[1][3] else "large"


def _place(board: Board, setting: str) -> int:
    settings = [column.setting for column in board.columns]
    if not setting and len(settings) == 1:
        return 0
    if setting in settings:
        return settings.index(setting)
    asked = f"no setting {setting!r:.200} in the store" if setting else "which setting?"
    raise ValueError(f"{asked}; there are: {'; '.join(settings) or 'none'}")


def _ranked(board: Board, place: int) -> Sequence[Row]:
    """Candidates that have a number which counts, the best first."""
    sign = -1 if board.columns[place].higher_is_better else 1
    found = [(row.entries[place].value, row) for row in board.rows if row.entries[place].status == "done"]
    ranked = sorted((sign * value, row.backbone, row) for value, row in found if value is not None)
    return [row for _, _, row in ranked if not row.facts.baseline]
