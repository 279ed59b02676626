"""The rows of a training so far, how they pass through a checkpoint, and when a loss says it is over."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from backbones.training.job import Log
from backbones.training.outcomes import Diverged, Row

RUNAWAY = 1000.0
"""A loss so many times that of the first step (or 1, if that was less) has diverged, though it is still finite."""


class History:
    """Rows a step and rows an epoch; a step's loss is looked at when it is told."""

    def __init__(self, log: Log | None) -> None:
        self.steps: list[Row] = []
        self.epochs: list[Row] = []
        self._log = log

    def step(self, row: Row) -> None:
        """Raises :class:`Diverged` for a loss that is NaN, infinite or has run away."""
        loss = row["loss"]
        first = self.steps[0]["loss"] if self.steps else loss
        if not math.isfinite(loss) or loss > RUNAWAY * max(first, 1.0):
            raise Diverged(int(row["step"]), loss, first)
        self.steps.append(row)
        if self._log is not None:
            self._log("step", row)

    def epoch(self, epoch: int, evaluation: Mapping[str, float]) -> None:
        """``epoch`` from 1; its mean loss is over its steps."""
        losses = [row["loss"] for row in self.steps if row["epoch"] == epoch]
        row = {"epoch": float(epoch), "loss": math.fsum(losses) / len(losses)}
        self.epochs.append({**row, **{name: float(value) for name, value in evaluation.items()}})
        if self._log is not None:
            self._log("epoch", self.epochs[-1])

    def tensors(self) -> dict[str, Tensor]:
        """Columns, in full precision; NaN where a row lacks one."""
        return {f"{kind}/{name}": column for kind, rows in self._kinds() for name, column in _columns(rows).items()}

    def put_back(self, tensors: Mapping[str, Tensor]) -> None:
        """Rows from :meth:`tensors`."""
        for kind, rows in self._kinds():
            columns = {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(kind)}
            rows[:] = [dict(zip(columns, row, strict=True)) for row in zip(*_lists(columns), strict=True)]

    def _kinds(self) -> list[tuple[str, list[Row]]]:
        return [("steps", self.steps), ("epochs", self.epochs)]


def _columns(rows: list[Row]) -> dict[str, Tensor]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: torch.tensor([row.get(name, math.nan) for row in rows], dtype=torch.float64) for name in names}


def _lists(columns: Mapping[str, Tensor]) -> list[Any]:
    return [column.tolist() for column in columns.values()]
