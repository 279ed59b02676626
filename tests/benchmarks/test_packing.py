"""Many trivial units by one worker: packed into a job, against submitit alone with a job for each, in the same run."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from submitit.local.local import LocalExecutor

from slurm.machine import Machine
from slurm.parcel import Parcel, Unit
from slurm.parcels import pack
from slurm.place import Work
from slurm.resources import Resources
from slurm.supervise import Pace, supervise

pytestmark = pytest.mark.slow
PACKED, ALONE = 500, 6


def trivial(folder: Path) -> Callable[[str], None]:
    """A unit that only keeps that it was done, as safely as a record is kept."""

    def unit(name: str) -> None:
        import os

        with (folder / f".{name}").open("x") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
        os.replace(folder / f".{name}", folder / name)

    return unit


def test_units_of_a_parcel_against_a_job_each(tmp_path: Path) -> None:
    unit, done = trivial(tmp_path), lambda: {name for name in os.listdir(tmp_path) if name.startswith("unit")}
    executor = LocalExecutor(tmp_path / "plain")
    start = time.perf_counter()
    for number in range(ALONE):  # one worker: each begins when the one before has ended
        executor.submit(unit, f"unit-alone-{number}").result()
    plain_s = (time.perf_counter() - start) / ALONE

    def work(parcel: Parcel) -> Work:
        def job() -> None:
            for name in parcel.units:
                unit(name)

        return job

    units = [Unit(f"unit-{number:03}", "group", Resources(), 0.1) for number in range(PACKED)]
    start = time.perf_counter()
    with Machine("sweep", tmp_path / "packed", []) as machine:
        given_up = supervise(
            machine, units, lambda: {each.name for each in units} - done(), work, print, pace=Pace(poll_s=0.1)
        )
    packed_s = (time.perf_counter() - start) / PACKED
    assert not given_up
    assert len(done()) == PACKED + ALONE
    print(f"\na job for each: {plain_s:.3f} s a unit; packed: {1000 * packed_s:.2f} ms, {plain_s / packed_s:.0f} times")
    assert plain_s >= 20 * packed_s


def test_packing_a_hundred_thousand() -> None:
    """As many as a BoB has seeds and settings: of 1,500 backbones, asking for two dozen things."""
    asked = [Resources(cpus_per_task=number) for number in range(1, 25)]
    names = range(100_000)
    units = [Unit(f"{each:024}", f"{each % 1500}", asked[each % 24], 30 + each % 977) for each in names]
    start = time.perf_counter()
    parcels = pack(units, job_min=30)
    took = time.perf_counter() - start
    print(f"\n100,000 units into {len(parcels):,} parcels: {took:.2f} s")
    assert took < 1.0
