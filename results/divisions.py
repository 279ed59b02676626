"""Which images of each data set were learnt from, chosen by and tested on, in words: from the notes of its records."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from results.record import Record

PARTS = ("train", "val", "test")
_NOTE = re.compile(rf"({'|'.join(PARTS)})_part(?::(.+))?", re.DOTALL)

Origins = Mapping[str, Sequence[str]]
"""By part, where it came from: of each seed once."""


def divisions(records: Sequence[Record]) -> list[str]:
    """A line a data set, naming the tasks where they do not all divide it alike.

    Tasks note ``train_part``, ``val_part`` and ``test_part`` of the set they learn from, and ``test_part:NAME`` of
    another that they test on.
    """
    by_data: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (data, task), origins in sorted(_origins(records).items()):
        by_data[data][_worded(origins)].append(task)
    return [
        f"{data} ({', '.join(tasks)}): {way}" if len(ways) > 1 else f"{data}: {way}"
        for data, ways in by_data.items()
        for way, tasks in ways.items()
    ]


def _origins(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, list[str]]]:
    """By data set and task, what the notes say of each part."""
    found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda each: each.cell.seed):
        for part, data, origin in _noted(record):
            told = found[data, record.cell.task][part]
            if origin not in told:
                told.append(origin)
    return found


def _noted(record: Record) -> Iterator[tuple[str, str, str]]:
    roles = record.cell.roles()
    home = ", ".join(record.cell.datasets[roles[0]]) if roles else ""
    for name, origin in record.notes.items():
        if match := _NOTE.fullmatch(name):
            yield match[1], match[2] or home, str(origin)


def _worded(origins: Origins) -> str:
    if {origin for told in origins.values() for origin in told} == {"official"}:
        return f"official {', '.join(part for part in PARTS if part in origins)}"
    return "; ".join(f"{part} = {_some(origins[part])}" for part in PARTS if part in origins)


def _some(told: Sequence[str]) -> str:
    return told[0] + (f" ({len(told) - 1} more by seed)" if len(told) > 1 else "")
