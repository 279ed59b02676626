"""The board as JSON: everything, null where there is no number."""

import dataclasses
import json

from results.board import Board


def render(board: Board) -> str:
    """Columns, rows with their entries in the columns' order, how data was divided, trends, and remarks."""
    rows = [
        {
            **{k: v for k, v in vars(row).items() if k not in ("facts", "entries")},
            **row.facts.model_dump(),
            "entries": [dataclasses.asdict(entry) for entry in row.entries],
        }
        for row in board.rows
    ]
    columns = [dataclasses.asdict(column) for column in board.columns]
    trends = [dataclasses.asdict(trend) for trend in board.trends]
    return json.dumps(
        {"columns": columns, "rows": rows, "divisions": board.divisions, "trends": trends, "remarks": board.remarks},
        indent=1,
        allow_nan=False,
    )
