"""The board as data: a row a backbone, a column a setting, and what can be said over all of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.certificates import subject
from results.divisions import divisions
from results.gates import ItemsOf, quarantined
from results.record import BackboneFacts, Record
from results.statistics import ranks, z_scores
from results.trend import Trend, ValuesOf, trends


@dataclass(frozen=True)
class Entry:
    """One cell of the board: the mean over its seeds, and the mean of their intervals over test items.

    ``spread`` is the standard deviation over seeds (None for one). ``value`` is None where there is no number, and
    ``status`` says why: ``missing`` (never run or not applicable), ``failed``, ``diverged`` (a training), ``stale``.
    ``failure`` tells in a phrase how it failed. A ``quarantined`` entry has its number, which takes part in nothing
    (see :mod:`results.gates`).
    """

    status: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    seeds: int = 0
    warnings: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Column:
    """A setting: its task, data and non-default settings in words, and its headline metric."""

    setting: str
    metric: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class Row:
    """A backbone. ``z`` and ``rank`` are means over the columns it has; ``missing`` counts those it has not.

    A baseline has no rank. ``failed`` counts those of the missing that were tried in vain: a failure is an answer,
    other than never having been asked.
    ``certified``: what all of its numbers come from holds a certificate.
    """

    backbone: str
    facts: BackboneFacts
    entries: tuple[Entry, ...]
    z: float | None
    rank: float | None
    missing: int
    failed: int
    images_per_second: float | None
    certified: bool


@dataclass(frozen=True)
class Board:
    """Rows in order: complete ones by mean rank, then those with missing cells, since theirs are not comparable.

    Ranks are among candidates only: a board with more random twins on it would else be another contest. Baselines come
    last, by z. z-scores are over all rows, baselines among them: they are part of the field, and with few candidates
    there would be no spread to measure by; so z says how far above the floors a backbone is, and moves with their
    number. ``divisions`` tell which images of each data set were learnt from, chosen
    by and tested on; ``trends`` hold backbones against the line of accuracy under shift over accuracy at home, where
    there are enough; ``remarks`` what was left out and why; ``versions`` are those of BoB that computed what is shown.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    divisions: tuple[str, ...]
    trends: tuple[Trend, ...]
    remarks: tuple[str, ...]
    include_cost: bool
    versions: tuple[str, ...]


def board(
    records: Sequence[Record],
    protocol_versions: Mapping[str, int] | None = None,
    include_cost: bool = True,
    certificates: Collection[str] = (),
    items_of: ItemsOf = lambda record: None,
    values_of: ValuesOf = lambda record, row: None,
) -> Board:
    """Put records, done and failed, on one board. Of several answers to one question the newest counts.

    A record whose task now has another protocol version is stale: shown as such, in no average. ``include_cost=False``
    leaves measured times out, so that the same results give the same board. ``certificates`` holds the subjects
    that have one (:func:`results.certificates.certified`). ``items_of`` gives what a record's test items gave to its
    headline (:func:`results.items.headline_items`), by which gates compare a backbone with its floors; ``values_of``
    what they gave to another score (:func:`results.items.score_values`), for the intervals of trends.
    """
    current, superseded = _newest(records)
    outdated = _outdated(current)
    stale = _superseded_protocol(current, protocol_versions or {}) | outdated.keys()
    suspects = quarantined([record for record in current if record.key not in stale], items_of)
    settings = sorted({record.cell.setting() for record in current})
    backbones = sorted({record.cell.backbone for record in current})
    grid: dict[tuple[str, str], list[Record]] = {(name, setting): [] for name in backbones for setting in settings}
    for record in current:
        grid[record.cell.backbone, record.cell.setting()].append(record)
    columns = tuple(_column(setting, [r for b in backbones for r in grid[b, setting]]) for setting in settings)
    entries = {place: _entry(cell, stale, suspects) for place, cell in grid.items()}
    facts = {name: _facts([r for r in current if r.cell.backbone == name]) for name in backbones}
    z, rank = _aggregate(facts, columns, entries)
    rows = [
        _row(
            name,
            facts[name],
            columns,
            entries,
            z[i],
            rank[i],
            [r for s in settings for r in grid[name, s]],
            include_cost,
            certificates,
        )
        for i, name in enumerate(backbones)
    ]
    rows.sort(key=_place)
    made_by = tuple(sorted({f"BoB {r.provenance.bob_version} ({r.provenance.commit[:12]})" for r in current}))
    return Board(
        columns=columns,
        rows=tuple(rows),
        divisions=tuple(divisions([record for record in current if record.key not in stale])),
        trends=tuple(trends([r for r in current if _entry_of(r, entries).status == "done"], values_of)),
        remarks=tuple(_remarks(current, superseded, stale, outdated, suspects)),
        include_cost=include_cost,
        versions=made_by,
    )


def comparable(records: Sequence[Record], protocol_versions: Mapping[str, int]) -> list[Record]:
    """What the averages of a board are made of: one record a question, none of before a change."""
    current, _ = _newest(records)
    stale = _superseded_protocol(current, protocol_versions) | _outdated(current).keys()
    return [record for record in current if record.status == "done" and record.key not in stale]


def _superseded_protocol(records: Sequence[Record], versions: Mapping[str, int]) -> set[str]:
    """Keys of records whose task now has another version of its protocol."""
    return {
        r.key for r in records if versions.get(r.cell.task, r.identity.protocol_version) != r.identity.protocol_version
    }


def _newest(records: Iterable[Record]) -> tuple[list[Record], int]:
    """One record a question: a finished one before a failed one, then the newest."""
    by_address: dict[str, Record] = {}
    total = 0
    for record in sorted(records, key=lambda r: (r.status == "done", r.provenance.created, r.key)):
        by_address[record.cell.address()] = record
        total += record.status == "done"
    current = sorted(by_address.values(), key=lambda r: r.key)
    return current, total - sum(record.status == "done" for record in current)


def _outdated(records: Sequence[Record]) -> dict[str, str]:
    """By key, why a record is not comparable with the newest ones beside it.

    A row is of one model: its newest weights. A column is of one question: its newest data and protocol. So seeds,
    rows and columns never mix answers of before a change with answers of after it.
    """
    model: dict[str, Record] = {}
    question: dict[str, Record] = {}
    for record in sorted((r for r in records if r.status == "done"), key=lambda r: (r.provenance.created, r.key)):
        model[record.cell.backbone] = question[record.cell.setting()] = record
    outdated: dict[str, str] = {}
    for record in records:
        if record.status == "done":
            asked = question[record.cell.setting()].identity
            now = asked.model_copy(
                update={
                    "weights_sha256": model[record.cell.backbone].identity.weights_sha256,
                    "preprocess": model[record.cell.backbone].identity.preprocess,
                    "precision": record.identity.precision,
                }
            )
            if changes := now.changes_from(record.identity):
                outdated[record.key] = "; ".join(changes)
    return outdated


def _column(setting: str, records: Sequence[Record]) -> Column:
    row = next((row for record in records if (row := record.headline_row())), None)
    if row is None:
        return Column(setting, records[0].headline, "fraction", True)
    return Column(setting, row.metric, row.unit, row.higher_is_better)


def _entry(records: Sequence[Record], stale: set[str], suspects: Mapping[str, str]) -> Entry:
    warnings = tuple(dict.fromkeys(line for record in records for line in record.warnings))
    usable = [record for record in records if record.key not in stale]
    if not usable:
        return Entry("stale" if records else "missing")
    if failed := [record for record in usable if record.error]:
        return _failed(failed, len(usable))
    rows = [row for record in usable if (row := record.headline_row()) is not None]
    values = [row.value for row in rows if row.value is not None]
    if len(values) < len(usable):  # a degraded answer never stands as if it were whole
        reasons = tuple(row.reason or "no value" for row in rows if row.value is None)
        return Entry("failed", warnings=reasons or ("no headline score",), failure="failed: no number")
    lows = [row.low for row in rows if row.low is not None]
    highs = [row.high for row in rows if row.high is not None]
    reasons = tuple(dict.fromkeys(suspects[record.key] for record in usable if record.key in suspects))
    return Entry(
        "quarantined" if reasons else "done",
        value=float(np.mean(values)),
        low=float(np.mean(lows)) if lows else None,
        high=float(np.mean(highs)) if highs else None,
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        seeds=len(values),
        warnings=(*(f"quarantined: {reason}" for reason in reasons), *warnings),
    )


def _entry_of(record: Record, entries: Mapping[tuple[str, str], Entry]) -> Entry:
    return entries[record.cell.backbone, record.cell.setting()]


def _failed(records: Sequence[Record], seeds: int) -> Entry:
    """An entry of which these seeds failed, whatever became of the others; a divergence is told first."""
    first = min(records, key=lambda record: (record.status != "diverged", record.cell.seed))
    part = f" ({len(records)} of {seeds} seeds)" if seeds > 1 else ""
    told = tuple(f"{record.error.kind}: {record.error.message}" for record in records if record.error)
    return Entry(first.status, warnings=told, failure=first.failure() + part)


def _facts(records: Sequence[Record]) -> BackboneFacts:
    """The newest record's."""
    return max(records, key=lambda record: record.provenance.created).backbone


def _place(row: Row) -> tuple[bool, bool, bool, float, str]:
    order = row.rank if row.rank is not None else -(row.z or 0.0)
    return row.facts.baseline, row.missing > 0, row.missing == len(row.entries), order, row.backbone


def _aggregate(
    facts: Mapping[str, BackboneFacts], columns: Sequence[Column], entries: Mapping[tuple[str, str], Entry]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z-scores and ranks, (backbones, columns), missing as NaN, higher always better; ranks of candidates alone."""
    candidate = np.array([not each.baseline for each in facts.values()])
    z = np.full((len(facts), len(columns)), np.nan)
    rank = z.copy()
    for j, column in enumerate(columns):
        found = [entries[name, column.setting] for name in facts]
        values = [each.value if each.status == "done" and each.value is not None else np.nan for each in found]
        signed = np.array(values) * (column.higher_is_better * 2 - 1)
        z[:, j], rank[:, j] = z_scores(signed), ranks(np.where(candidate, signed, np.nan))
    return z, rank


def _row(
    name: str,
    facts: BackboneFacts,
    columns: Sequence[Column],
    entries: Mapping[tuple[str, str], Entry],
    z: NDArray[np.float64],
    rank: NDArray[np.float64],
    records: Sequence[Record],
    include_cost: bool,
    certificates: Collection[str],
) -> Row:
    present, ranked = np.isfinite(z), np.isfinite(rank)
    own = tuple(entries[name, column.setting] for column in columns)
    speeds = [record.cost.images_per_second for record in records if record.cost and record.cost.images_per_second]
    return Row(
        backbone=name,
        facts=facts,
        entries=own,
        z=float(z[present].mean()) if present.any() else None,
        rank=float(rank[ranked].mean()) if ranked.any() else None,
        missing=int((~present).sum()),
        failed=sum(bool(entry.failure) for entry in own),
        images_per_second=float(np.median(speeds)) if speeds and include_cost else None,
        certified=all(subject(r.identity.weights_sha256, r.identity.preprocess) in certificates for r in records),
    )


def _remarks(
    current: Sequence[Record],
    superseded: int,
    stale: set[str],
    outdated: Mapping[str, str],
    suspects: Mapping[str, str],
) -> Iterable[str]:
    if superseded:
        yield f"{superseded} older records answer a question that has a newer answer and are left out"
    for record in current:
        where = f"{record.cell.backbone}, {record.cell.setting()}, seed {record.cell.seed}"
        if record.key in stale:
            why = outdated.get(record.key, f"protocol version {record.identity.protocol_version}")
            yield f"stale: {where} ({why})"
        elif record.error:
            how = "failed" if record.error.step is None else record.failure()
            yield f"{how}: {where}: {record.error.kind}: {record.error.message}"
    yield from dict.fromkeys(  # floors are held against all seeds together, so that each would say the same
        f"quarantined: {record.cell.backbone}, {record.cell.setting()}: {suspects[record.key]}"
        for record in current
        if record.key in suspects
    )
