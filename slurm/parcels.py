"""Units into parcels: a job takes seconds to start, so short units share one; a long job waits more and loses more."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from slurm.parcel import Parcel, Unit
from slurm.resources import Resources

TIME_SHARE = 0.8
"""Of the time a job may take, what its units are expected to need at most: expectations err."""

UNKNOWN_SHARE = 1 / 8
"""Of a job, what a unit counts that nobody has measured: eight of them are a job."""

LEAST_S = 0.1
"""What any unit costs besides its own work: reading what it needs, writing its record."""


@dataclass
class _Load:
    """Units that stay together so far, and the seconds they are expected to take."""

    units: list[str] = field(default_factory=list)
    seconds: float = 0.0


def pack(units: Sequence[Unit], job_min: float, start_s: float = 15.0) -> list[Parcel]:
    """Parcels of about ``job_min`` minutes, of which a job's start takes ``start_s`` seconds; the longest first.

    A parcel holds units that ask for the same, those of a group together and in their order; none is expected to take
    more than 80 % of its ``time_min``, unless it is one unit that does.
    """
    parcels: list[tuple[float, Parcel]] = []
    for resources, groups in _sorted_out(units).items():
        most_s = max(min(job_min * 60, TIME_SHARE * resources.time_min * 60) - start_s, 0.0)
        loads = _together([load for group in groups.values() for load in _cut(group, job_min, most_s)], most_s)
        parcels += [(load.seconds, Parcel(tuple(load.units), resources)) for load in loads]
    return [parcel for _, parcel in sorted(parcels, key=lambda each: -each[0])]


def _sorted_out(units: Sequence[Unit]) -> dict[Resources, dict[str, list[Unit]]]:
    """By what they ask for, by group; in the order of their first."""
    by_resources: dict[Resources, dict[str, list[Unit]]] = {}
    same: dict[int, dict[str, list[Unit]]] = {}  # mostly one and the same object: much faster
    for unit in units:
        groups = same.get(id(unit.resources))
        if groups is None:
            groups = same[id(unit.resources)] = by_resources.setdefault(unit.resources, {})
        groups.setdefault(unit.group, []).append(unit)
    return by_resources


def _cut(group: Sequence[Unit], job_min: float, most_s: float) -> Iterator[_Load]:
    """A group's units in their order, cut wherever the next would be too much."""
    load = _Load()
    for unit in group:
        seconds = job_min * 60 * UNKNOWN_SHARE if unit.seconds is None else max(unit.seconds, LEAST_S)
        if load.units and load.seconds + seconds > most_s:
            yield load
            load = _Load()
        load.units.append(unit.name)
        load.seconds += seconds
    yield load


def _together(loads: Sequence[_Load], most_s: float) -> Iterator[_Load]:
    """Small loads of several groups in one: the largest first, each where the least room is left after it."""
    filled: list[list[int]] = []
    rooms: list[tuple[float, int]] = []
    for number in sorted(range(len(loads)), key=lambda each: -loads[each].seconds):
        seconds = loads[number].seconds
        place = bisect_left(rooms, (seconds, -1))
        room, index = rooms.pop(place) if place < len(rooms) else (most_s, len(filled))
        if index == len(filled):
            filled.append([])
        filled[index].append(number)
        insort(rooms, (room - seconds, index))
    for numbers in filled:
        those = [loads[number] for number in sorted(numbers)]  # again in the order of their groups
        yield _Load([name for load in those for name in load.units], sum(load.seconds for load in those))
