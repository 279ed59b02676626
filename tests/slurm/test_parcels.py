"""Packing against what must hold of any packing, and against a few cases worked out by hand."""

import random
import time
from collections import Counter
from itertools import pairwise

import pytest

from slurm.parcel import Parcel, Unit
from slurm.parcels import pack
from slurm.resources import Resources

SMALL = Resources(time_min=60)
BIG = Resources(time_min=60, gpus_per_node=2, nodes=2)


def names(parcels: list[Parcel]) -> list[tuple[str, ...]]:
    return [parcel.units for parcel in parcels]


def test_by_hand() -> None:
    """Ten minutes, one of them the start: nine minutes, 540 s, of work a job."""
    units = [
        Unit("a1", "a", SMALL, 300),
        Unit("b1", "b", SMALL, 510),
        Unit("a2", "a", SMALL, 200),
        Unit("a3", "a", SMALL, 200),
        Unit("c1", "c", SMALL, 100),
        Unit("d1", "d", SMALL, 5000),
        Unit("e1", "e", BIG, 10),
        Unit("c2", "c", SMALL, 30),
    ]
    # a is cut after 500 s; of what is left, a3 and c are 330 s together, and nothing else has room.
    assert names(pack(units, job_min=10, start_s=60)) == [
        ("d1",), ("b1",), ("a1", "a2"), ("a3", "c1", "c2"), ("e1",),
    ]  # fmt: skip


def test_time_limit_of_the_scheduler() -> None:
    short = Resources(time_min=10)
    units = [Unit(str(i), "a", short, 100) for i in range(12)]
    # 80 % of 600 s is 480 s: four of 100 s and a start of 15 s, not the whole half hour.
    assert [len(parcel.units) for parcel in pack(units, job_min=30)] == [4, 4, 4]
    assert names(pack([Unit("long", "a", short, 3600)], job_min=30)) == [("long",)]


def test_unknown_seconds_count_as_an_eighth_of_a_job() -> None:
    assert [len(p.units) for p in pack([Unit(str(i), "a", SMALL) for i in range(16)], 30, start_s=0)] == [8, 8]


def test_units_without_length_do_not_make_a_job_without_end() -> None:
    parcels = pack([Unit(str(i), "a", SMALL, 0.0) for i in range(10_000)], job_min=10, start_s=0)
    assert max(len(parcel.units) for parcel in parcels) <= 6000


def test_nothing() -> None:
    assert pack([], job_min=30) == []


@pytest.mark.parametrize("seed", range(5))
def test_what_holds_of_any_packing(seed: int) -> None:
    chance = random.Random(seed)
    kinds = [Resources(time_min=t, mem_gb=m) for t in (5, 60) for m in (None, 8.0)]
    units = [
        Unit(
            f"u{i}", f"g{chance.randrange(40)}", chance.choice(kinds), chance.choice([None, chance.expovariate(1 / 90)])
        )
        for i in range(2000)
    ]
    by_name = {unit.name: unit for unit in units}
    parcels = pack(units, job_min=20)
    assert Counter(name for parcel in parcels for name in parcel.units) == Counter(list(by_name))
    lengths = []
    for parcel in parcels:
        asked = {by_name[name].resources for name in parcel.units}
        assert asked == {parcel.resources}
        seconds = [
            20 * 60 / 8 if by_name[n].seconds is None else max(by_name[n].seconds or 0, 0.1) for n in parcel.units
        ]
        lengths.append(sum(seconds))
        assert len(seconds) == 1 or 15 + sum(seconds) <= min(20 * 60, 0.8 * parcel.resources.time_min * 60) + 1e-6
        groups = [by_name[name].group for name in parcel.units]
        assert sum(a != b for a, b in pairwise(groups)) == len(set(groups)) - 1  # together
    assert lengths == sorted(lengths, reverse=True)
    total = sum(lengths)
    assert len(parcels) <= 4 * total / (0.8 * 5 * 60 - 15) + len(kinds) + sum(length > 225 for length in lengths)
    assert pack(units, job_min=20) == parcels


def test_a_hundred_thousand_are_quick() -> None:
    chance = random.Random(0)
    units = [Unit(f"{i:024}", f"g{i % 1500}", SMALL, chance.expovariate(1 / 60)) for i in range(100_000)]
    start = time.perf_counter()
    pack(units, job_min=30)
    assert time.perf_counter() - start < 2.0
    alone = [Unit(f"{i:024}", f"g{i}", Resources(time_min=60), chance.expovariate(1 / 60)) for i in range(20_000)]
    start = time.perf_counter()
    pack(alone, job_min=30)
    assert time.perf_counter() - start < 2.0
