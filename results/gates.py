"""Gates that are always on: a number nobody should believe is shown, with the reason, and kept out of every rank."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from results.record import Record
from results.statistics import Z95

ONE_SIDED = 1.6448536269514722
"""A candidate must be above its floor by this many standard errors of their difference (5 %, one-sided)."""


def quarantined(records: Sequence[Record]) -> dict[str, str]:
    """By key, why a finished record's number is not to be ranked. ``records`` are those of one board.

    - its own features are suspicious (collapsed, repeated, badly scaled input), as the record notes;
    - its features are bit for bit those of other weights, or of other images;
    - it does not beat ``pixels``, or its own random twin, in the same setting by more than noise. Test items are
      taken as independent between the two, which is the cautious side: their differences vary less.

    Floors that are not among ``records`` cannot be held against anybody.
    """
    done = [record for record in records if record.status == "done"]
    reasons: dict[str, list[str]] = defaultdict(list)
    for record in done:
        reasons[record.key] += record.notes.get("suspicions", [])
    for key, reason in [*_identical(done), *_below_floors(done)]:
        reasons[key].append(reason)
    return {key: "; ".join(dict.fromkeys(each)) for key, each in reasons.items() if each}


def _identical(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Features that agree in every bit though weights, images or layer differ."""
    made_of: dict[str, dict[tuple[str, str, str], Record]] = defaultdict(dict)
    seen: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for features in record.notes.get("features", []):
            source = record.identity.weights_sha256, features["images"], features["layer"]
            made_of[features["sha256"]].setdefault(source, record)
            seen[record.key].add(features["sha256"])
    for record in records:
        for digest in seen[record.key]:
            others = [each for each in made_of[digest].values() if each.key != record.key]
            if len(made_of[digest]) > 1 and others:
                other = others[0].cell
                yield record.key, f"its features are bit for bit those of {other.backbone} in {other.setting()}"


def _below_floors(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    settings: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        settings[record.cell.setting()][record.cell.backbone].append(record)
    for by_backbone in settings.values():
        for name, candidates in by_backbone.items():
            if candidates[0].backbone.baseline:
                continue
            for floor, theirs in by_backbone.items():
                if _is_floor_of(floor, theirs[0], name) and (why := _not_above(candidates, theirs)):
                    yield from (
                        (record.key, f"does not beat {floor} by more than noise ({why})") for record in candidates
                    )


def _is_floor_of(floor: str, record: Record, candidate: str) -> bool:
    twin = re.fullmatch(rf"random:{re.escape(candidate)}(@\d+)?", floor)
    return record.backbone.baseline and (record.backbone.family == "pixels" or twin is not None)


def _not_above(candidates: Sequence[Record], floors: Sequence[Record]) -> str | None:
    """What was seen, where the difference is within noise or has the wrong sign; None where it is not."""
    mine, theirs = _mean_and_error(candidates), _mean_and_error(floors)
    if mine is None or theirs is None:
        return None
    needed = ONE_SIDED * math.hypot(mine[1], theirs[1])
    return (
        None if mine[0] - theirs[0] > needed else f"{abs(mine[0]):.3f} against {abs(theirs[0]):.3f}, needs {needed:.3f}"
    )


def _mean_and_error(records: Sequence[Record]) -> tuple[float, float] | None:
    """Mean over seeds, higher always better, and its standard error over test items.

    Seeds share their test items, so their errors do not average out: the mean error is that of the mean.
    """
    rows = [row for record in records if (row := record.headline_row()) is not None and row.value is not None]
    if not rows:
        return None
    sign = 1 if rows[0].higher_is_better else -1
    errors = [(row.high - row.low) / (2 * Z95) for row in rows if row.low is not None and row.high is not None]
    values = [sign * row.value for row in rows if row.value is not None]
    return sum(values) / len(values), sum(errors) / len(errors) if errors else 0.0
