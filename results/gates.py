"""Gates that are always on: a number nobody should believe is shown, with the reason, and kept out of every rank."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from results.items import Items, mean_items
from results.record import Record
from results.statistics import Z95, paired_margin

ONE_SIDED = 1.6448536269514722
"""A candidate must be above its floor by this many standard errors of their difference (5 %, one-sided)."""

ItemsOf = Callable[[Record], Items | None]


def quarantined(records: Sequence[Record], items_of: ItemsOf = lambda record: None) -> dict[str, str]:
    """By key, why a finished record's number is not to be ranked. ``records`` are those of one board.

    - its own features are suspicious (collapsed, repeated, badly scaled input), as the record notes;
    - its features are bit for bit those of other weights, or of other images;
    - it does not beat ``pixels``, or its own random twin, in the same setting by more than noise (5 %, one-sided),
      unless its note ``no_floor`` says why they are none in this question.

    Where ``items_of`` gives both the same test items, the two are compared item by item (a paired t-test on each
    item's mean over seeds). It assumes that test items are independent draws, one from the other, and so many that
    their mean difference is normal; nothing about the two results, which easy and hard items may move together.
    Seeds are taken as they are: what another seed would give is no part of the noise. Elsewhere the intervals of the
    two are taken as independent, which asks for more, since what they share then counts as noise twice.

    Floors that are not among ``records`` cannot be held against anybody.
    """
    done = [record for record in records if record.status == "done"]
    reasons: dict[str, list[str]] = defaultdict(list)
    for record in done:
        reasons[record.key] += record.notes.get("suspicions", [])
    for key, reason in [*_identical(done), *_below_floors(done, items_of)]:
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


def _below_floors(records: Sequence[Record], items_of: ItemsOf) -> Iterator[tuple[str, str]]:
    settings: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if "no_floor" not in record.notes:
            settings[record.cell.setting()][record.cell.backbone].append(record)
    for by_backbone in settings.values():
        yield from _below_floors_of_setting(by_backbone, items_of)


def _below_floors_of_setting(
    by_backbone: Mapping[str, Sequence[Record]], items_of: ItemsOf
) -> Iterator[tuple[str, str]]:
    @cache
    def items(name: str) -> Items | None:
        return mean_items([items_of(record) for record in by_backbone[name]])

    for name, candidates in by_backbone.items():
        if candidates[0].backbone.baseline:
            continue
        for floor, theirs in by_backbone.items():
            if _is_floor_of(floor, theirs[0], name):
                why = _not_above(candidates, theirs, _paired(items(name), items(floor)))
                reason = f"does not beat {floor} by more than noise ({why})"
                yield from ((record.key, reason) for record in candidates if why)


def _is_floor_of(floor: str, record: Record, candidate: str) -> bool:
    twin = re.fullmatch(rf"random:{re.escape(candidate)}(@\d+)?", floor)
    return record.backbone.baseline and (record.backbone.family == "pixels" or twin is not None)


def _not_above(candidates: Sequence[Record], floors: Sequence[Record], paired: float | None) -> str | None:
    """What was seen, where the difference is within noise or has the wrong sign; None where it is not.

    ``paired`` is what the difference must exceed item by item, where that is known.
    """
    mine, theirs = _mean_and_error(candidates), _mean_and_error(floors)
    if mine is None or theirs is None:
        return None
    needed = ONE_SIDED * math.hypot(mine[1], theirs[1]) if paired is None else paired
    if mine[0] - theirs[0] > needed:
        return None
    how = "" if paired is None else ", item by item"
    return f"{abs(mine[0]):.3f} against {abs(theirs[0]):.3f}, needs {needed:.3f}{how}"


def _paired(mine: Items | None, theirs: Items | None) -> float | None:
    """By how much the better must be above the other, from the same items; None where they are not the same."""
    if mine is None or theirs is None or not mine.names.equals(theirs.names):
        return None
    return paired_margin(mine.values - theirs.values)


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
