"""What a record keeps of a cell's answers, beside numbers: everything per item, facts, what a training left."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from backbones.base import BASELINES, Backbone
from backbones.training.execution import LOGS
from bob.plan import Cell
from bob.provenance import provenance
from results import record
from results.statistics import bootstrap_interval
from tasks.base import Outputs, Score


def logs_below(folder: Path) -> dict[str, Path]:
    """What a training left to be kept: the files in any folder ``logs`` of a working folder, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): path
        for logs in sorted(folder.rglob(LOGS))
        for path in sorted(logs.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def asked(cell: Cell, backbone: Backbone) -> dict[str, Any]:
    """What a record says of the question, whatever became of it."""
    return {
        "cell": cell.address,
        "identity": cell.identity,
        "backbone": backbone_facts(backbone),
        "headline": cell.question.task.headline,
        "provenance": provenance(),
    }


def outputs_table(answers: Sequence[Any]) -> pa.Table | None:
    """Everything per item, one table: the task's columns, and ``score:METRIC`` for metrics that are means over items.

    A score over other items than its split's outputs (a mean over several sets) has rows of its own, whose split is
    ``SPLIT:METRIC``. Raises ``ValueError`` where the columns of one output differ in length.
    """
    parts = {answer.split: dict(answer.columns) for answer in answers if isinstance(answer, Outputs)}
    for score in (each for each in answers if isinstance(each, Score)):
        if score.per_sample is None:
            continue
        columns = parts.get(score.split, {})
        fits = columns and len(next(iter(columns.values()))) == len(score.per_sample)
        target = score.split if fits else f"{score.split}:{score.metric}"
        parts.setdefault(target, {})[f"score:{score.metric}"] = score.per_sample
    tables = [_table(split, columns) for split, columns in parts.items()]
    return pa.concat_tables(tables, promote_options="default") if tables else None


def _table(split: str, columns: dict[str, Any]) -> pa.Table:
    rows = {len(column) for column in columns.values()}
    if len(rows) != 1:
        raise ValueError(f"outputs of split {split!r} have columns of different lengths: {sorted(rows)}")
    arrays = {name: pa.array(column.tolist() if column.ndim > 1 else column) for name, column in columns.items()}
    return pa.table({"split": pa.repeat(split, rows.pop()), **arrays})


def score_row(score: Score) -> record.ScoreRow:
    """A score with its 95 % interval: the bootstrap's where it is a mean over items, else its own if it has one."""
    low, high = score.interval or (None, None)
    if score.per_sample is not None:
        low, high = bootstrap_interval(score.per_sample)
    return record.ScoreRow(
        metric=score.metric,
        split=score.split,
        value=score.value,
        low=low,
        high=high,
        n=None if score.per_sample is None else len(score.per_sample),
        higher_is_better=score.higher_is_better,
        unit=score.unit,
    )


def backbone_facts(backbone: Backbone) -> record.BackboneFacts:
    """The card's facts, as a record keeps them."""
    card = backbone.card
    return record.BackboneFacts(
        family=card.family,
        baseline=card.family in BASELINES,
        architecture=card.architecture,
        parameters=card.parameters,
        pretraining_method=card.pretraining_method,
        pretraining_data=card.pretraining_data,
        licence=card.licence,
        source=card.source,
        revision=card.revision,
    )


def headline(finished: record.Record) -> str:
    """The number that boards show first, for a line of progress."""
    row = finished.headline_row()
    return "no headline" if row is None or row.value is None else f"{row.metric} {row.value:.3f}"
