"""10,000 units are submitted in under a minute: all that is done but SLURM's own part, whose programs are pretended."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.parcel import Parcel
from slurm.profile import Profile
from slurm.resources import Resources
from tests.slurm.pretended import Pretended

pytestmark = pytest.mark.slow
UNITS = 10_000


@dataclass(frozen=True)
class Idle:
    """About what a job of a sweep carries."""

    folder: Path
    keys: tuple[str, ...]

    def __call__(self) -> None:
        return None


@pytest.mark.parametrize("in_a_job", [1, 20])
def test_submitting_ten_thousand_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_a_job: int) -> None:
    pretended = Pretended(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{pretended.folder}:/usr/bin:/bin")
    place = Cluster("sweep", tmp_path / "sweep", Profile())
    keys = [f"{number:064x}" for number in range(UNITS)]
    parcels = [Parcel(tuple(keys[at : at + in_a_job]), Resources()) for at in range(0, UNITS, in_a_job)]
    start = time.perf_counter()
    place.submit(parcels, lambda parcel: Idle(tmp_path, parcel.units))
    seconds = time.perf_counter() - start
    begin = time.perf_counter()
    assert len(place.standing()) == UNITS
    looking = time.perf_counter() - begin
    place.submit(parcels, lambda parcel: Idle(tmp_path, parcel.units))
    assert sum(size for size, _ in pretended.arrays) == UNITS // in_a_job
    print(
        f"\n{UNITS} units, {in_a_job} a job: submitted in {seconds:.2f} s ({1e6 * seconds / UNITS:.0f} us a unit), "
        f"looked at in {looking:.2f} s"
    )
    assert seconds < 60
