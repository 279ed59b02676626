"""Every score as a row of its own, with all that tells it apart: for pandas, R, DuckDB, a spreadsheet."""

import csv
import json
import types
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from results.formats.comma_separated import harmless
from results.record import Record, ScoreRow

BATCH = 100_000
"""Rows held in memory at once."""


class Row(NamedTuple):
    """One score. ``datasets`` and ``settings`` are JSON; ``settings`` are those that differ from the task's defaults.

    ``headline``: boards show it. ``comparable``: it is the newest answer to its question, of the newest weights, data
    and protocol; average no others. A record without scores (it failed) is a row without a value.
    """

    backbone: str
    family: str
    baseline: bool
    parameters: int
    task: str
    datasets: str
    settings: str
    setting: str
    seed: int
    metric: str
    split: str
    headline: bool
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    unit: str
    higher_is_better: bool
    reason: str
    status: str
    comparable: bool
    protocol_version: int
    precision: str
    key: str
    created: str
    code: str
    seconds: float | None
    images_per_second: float | None
    flops: int | None


def rows(records: Iterable[Record], comparable: Collection[str]) -> Iterator[Row]:
    """The rows of these records; ``comparable`` are the keys of those that may be compared."""
    for record in records:
        for score in record.scores or [_nothing(record)]:
            yield _row(record, score, record.key in comparable)


def csv_lines(table: Iterable[Row]) -> Iterator[str]:
    """With a head. What a spreadsheet would run as a formula is made text."""
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow(Row._fields)
    for row in table:
        yield writer.writerow(map(harmless, row))


def write_parquet(table: Iterable[Row], path: Path) -> None:
    """Typed, also where there are no rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, remaining = _schema(), iter(table)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(remaining, BATCH)):
            arrays = [
                pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


class _Echo:
    """A file that gives back what is written to it, as csv's writer then does."""

    def write(self, line: str) -> str:
        return line


def _row(record: Record, score: ScoreRow, comparable: bool) -> Row:
    cell, facts, cost = record.cell, record.backbone, record.cost
    return Row(
        backbone=cell.backbone,
        family=facts.family,
        baseline=facts.baseline,
        parameters=facts.parameters,
        task=cell.task,
        datasets=json.dumps(cell.datasets, sort_keys=True),
        settings=json.dumps(cell.settings, sort_keys=True),
        setting=cell.setting(),
        seed=cell.seed,
        metric=score.metric,
        split=score.split,
        headline=score == record.headline_row(),
        value=score.value,
        low=score.low,
        high=score.high,
        n=score.n,
        unit=score.unit,
        higher_is_better=score.higher_is_better,
        reason=score.reason or "",
        status=record.status,
        comparable=comparable,
        protocol_version=record.identity.protocol_version,
        precision=record.identity.precision,
        key=record.key,
        created=record.provenance.created,
        code=record.provenance.code or record.provenance.commit,
        seconds=cost.seconds if cost else None,
        images_per_second=cost.images_per_second if cost else None,
        flops=cost.flops if cost else None,
    )


def _nothing(record: Record) -> ScoreRow:
    return ScoreRow(metric=record.headline, split="", value=None, reason=record.failure() or "no scores")


def _schema() -> Any:
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return pa.schema([(name, kinds[_bare(hint)]) for name, hint in get_type_hints(Row).items()])


def _bare(hint: type) -> type:
    """
    >>> _bare(int | None), _bare(int)
    (<class 'int'>, <class 'int'>)
    """
    return get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
