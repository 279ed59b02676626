"""The board as tidy CSV: a line a (backbone, setting), numbers in their own unit, empty where there is none."""

import csv
import io
import unicodedata

from results.board import Board

FIELDS = ["backbone", "family", "baseline", "parameters", "licence", "setting", "metric", "status", "failure",
          "value", "low", "high", "seeds", "spread", "mean_rank", "mean_z", "missing_settings", "failed_settings",
          "certified", "images_per_second"]  # fmt: skip


def render(board: Board) -> str:
    """Text cells that a spreadsheet would run as a formula are neutralised by a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = [name for name in FIELDS if board.include_cost or name != "images_per_second"]
    writer.writerow(fields)
    for row in board.rows:
        for column, entry in zip(board.columns, row.entries, strict=True):
            values = [row.backbone, row.facts.family, row.facts.baseline, row.facts.parameters, row.facts.licence,
                      column.setting, column.metric, entry.status, entry.failure, entry.value, entry.low, entry.high,
                      entry.seeds, entry.spread, row.rank, row.z, row.missing, row.failed, row.certified,
                      row.images_per_second]  # fmt: skip
            writer.writerow([harmless(value) for value in values[: len(fields)]])
    return out.getvalue()


def harmless(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe.

    >>> harmless("=1+1"), harmless("one"), harmless(-1)
    ("'=1+1", 'one', -1)
    """
    if not isinstance(value, str):
        return value
    # Spreadsheets look past leading blanks and characters of no width, so this does too.
    first = next((c for c in value if not c.isspace() and unicodedata.category(c) not in ("Cf", "Cc")), "")
    return f"'{value}" if first in {"=", "+", "-", "@"} or value[:1] in {"\t", "\r", "\n"} else value
