"""Real jobs on pretended GPUs: what they see, how many at once, and that none outlives anybody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm.gpus import Gpu
from slurm.machine import Machine
from slurm.parcel import Parcel, Unit
from slurm.place import End, Place, Work
from slurm.resources import Resources
from slurm.supervise import Pace, supervise


def parcel(*units: str, gpus: int = 1, mem_gb: float | None = None) -> Parcel:
    return Parcel(units, Resources(gpus_per_node=gpus, mem_gb=mem_gb, cpus_per_task=1))


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def noting(folder: Path, seconds: float = 0.3) -> Callable[[Parcel], Work]:
    """Work that notes for each unit which GPUs it saw, its process, when it began and ended, or was told to."""

    def work(parcel: Parcel) -> Work:
        def job() -> None:
            import os  # what a job needs travels with it: it cannot import this file
            import time

            for unit in parcel.units:
                seen, start = os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic()
                (folder / f"{unit}.begun").write_text(f"{os.getpid()} {os.getppid()}")
                try:
                    time.sleep(seconds)
                except SystemExit:  # told to end: keeping what there is takes longer than submitit would give it
                    time.sleep(1.5)
                    (folder / f"{unit}.kept").touch()
                    raise
                word = os.environ.get("WORD", "")
                (folder / f"{unit}.new").write_text(f"{seen} {start} {time.monotonic()} {os.getpid()} {word}")
                os.rename(folder / f"{unit}.new", folder / f"{unit}.done")

        return job

    return work


def begun(folder: Path, unit: str) -> tuple[int, int] | None:
    """Processes of the job of a unit: its own, and submitit's over it."""
    try:
        pid, parent = map(int, (folder / f"{unit}.begun").read_text().split())
    except (OSError, ValueError):
        return None
    return pid, parent


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    gpus = [Gpu(0, 20.0), Gpu(5, 20.0)]
    with Machine("sweep", tmp_path / "jobs", gpus, {"WORD": "exported"}, reserve=0.0) as machine:
        yield machine
        machine.close(5.0)


def test_each_sees_its_gpus_and_never_more_at_once_than_fit(machine: Machine, tmp_path: Path) -> None:
    assert isinstance(machine, Place)
    parcels = [
        parcel("both", gpus=2, mem_gb=9),
        parcel("a", "b", mem_gb=9),
        parcel("c", mem_gb=9),
        parcel("whole"),
        parcel("none", gpus=0),
    ]
    sizes = {unit: each.resources for each in parcels for unit in each.units}
    units = [Unit(unit, "g", resources) for unit, resources in sizes.items()]

    def unfinished() -> set[str]:
        return {unit for unit in sizes if not (tmp_path / f"{unit}.done").exists()}

    machine.submit(parcels, noting(tmp_path))
    assert set(machine.standing()) == set(sizes)
    pace = Pace(poll_s=0.1)
    said: list[str] = []
    assert supervise(machine, units, unfinished, noting(tmp_path), said.append, pace=pace) == {}
    assert said == []
    assert machine.standing() == {}
    jobs = {unit: (tmp_path / f"{unit}.done").read_text().split() for unit in sizes}
    assert {words[4] for words in jobs.values() if len(words) == 5} == {"exported"}
    assert jobs["both"][0] == "0,5"
    assert jobs["a"][3] == jobs["b"][3] != jobs["c"][3]
    assert jobs["a"][0] in ("0", "5")
    for unit, (seen, start, *_) in jobs.items():
        for gpu in seen.split(","):
            at_once = [
                sizes[other].mem_gb or 20.0
                for other, (theirs, begin, end, *_) in jobs.items()
                if gpu in theirs.split(",") and float(begin) <= float(start) < float(end)
            ]
            assert sum(at_once) <= 20.0, unit
    assert {end.state for end in machine.ends().values()} == {"COMPLETED"}
    assert "exported" not in os.environ.get("WORD", "")


def test_jobs_that_are_killed_or_fail_or_are_cancelled(machine: Machine, tmp_path: Path) -> None:
    def work(given: Parcel) -> Work:
        def failing() -> None:
            raise ValueError("no such number")

        return failing if given.units == ("failing",) else noting(tmp_path, 60.0)(given)

    names = ("own", "over", "failing", "slow")
    machine.submit([parcel(name, mem_gb=10) for name in names], work)
    machine.submit([parcel("slow"), parcel("slow", "queued", "gone")], work)  # what stands is not given twice
    until(lambda: all(begun(tmp_path, name) for name in ("own", "over", "slow")))
    standing = {name: each.state for name, each in machine.standing().items() if name != "failing"}
    assert standing == dict.fromkeys(("own", "over", "slow"), "running") | dict.fromkeys(("queued", "gone"), "queued")
    (own, _), (under, over) = begun(tmp_path, "own"), begun(tmp_path, "over")  # type: ignore[misc]
    assert machine.cancel(["gone"]) == 1
    os.kill(over, signal.SIGKILL)  # takes the job along
    until(lambda: not alive(under), 5.0)
    os.kill(own, signal.SIGKILL)
    until(lambda: begun(tmp_path, "queued") or machine.standing()["queued"].state == "running")
    assert set(machine.standing()) == {"slow", "queued"}
    assert machine.cancel() == 2
    assert machine.cancel() == 0
    until(lambda: not machine.standing())
    ends = machine.ends()
    assert {name: end.state for name, end in ends.items()} == {
        "own": "KILLED", "over": "KILLED", "failing": "FAILED", "slow": "CANCELLED", "queued": "CANCELLED",
    }  # fmt: skip
    assert {path.stem for path in tmp_path.glob("*.kept")} <= {"slow", "queued"}
    assert (tmp_path / "slow.kept").exists()
    assert "no such number" in Path(ends["failing"].log).read_text()
    assert not (tmp_path / "gone.begun").exists()


def test_refused_before_anything_starts(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gpus_per_node=3, and this machine has 2 \(units big\)"):
        machine.submit([parcel("small"), parcel("big", gpus=3)], noting(tmp_path))
    assert machine.standing() == {}


SUPERVISOR = """
import sys, time
from pathlib import Path
sys.path.append({tests!r})
from test_machine import Gpu, Machine, noting, parcel
folder = Path({folder!r})
with Machine("sweep", folder / "jobs", [Gpu(0, 8.0)]) as machine:
    machine.submit([parcel("a"), parcel("b")], noting(folder, 60.0))
    while True:
        machine.standing()
        time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_jobs_end_with_their_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """Killed, or interrupted at a terminal, where every process of the group hears of it."""
    code = SUPERVISOR.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], process_group=0, stderr=subprocess.DEVNULL) as supervisor:
        until(lambda: begun(tmp_path, "a"))
        pids = begun(tmp_path, "a")
        assert pids is not None
        os.killpg(supervisor.pid, number) if number == signal.SIGINT else supervisor.kill()
        supervisor.wait(30)
        if number == signal.SIGINT:  # a clean end waits for its jobs
            assert not any(map(alive, pids))
    until(lambda: not any(map(alive, pids)), 10.0)
    assert (tmp_path / "a.kept").exists()
    assert not (tmp_path / "b.begun").exists()


class Pretended:
    """Jobs that end when the test says so, in place of submitit's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: dict[str, Pretended.Job] = {}
        monkeypatch.setattr("slurm.machine.LocalExecutor", lambda folder: self)

    class Job:
        def __init__(self, units: tuple[str, ...], gpus: list[int]) -> None:
            self.job_id, self.units, self.gpus, self.ended = "0", units, gpus, False

            class Paths:
                stdout = Path("no-log")

            self.paths = Paths()

        def done(self) -> bool:
            return self.ended

    def update_parameters(self, visible_gpus: list[int], **_: Any) -> None:
        self.gpus = visible_gpus

    def submit(self, tied: Any) -> "Pretended.Job":
        job = Pretended.Job(tied.work.units, self.gpus)
        self.jobs |= dict.fromkeys(job.units, job)
        return job


def running(machine: Machine) -> set[str]:
    return {unit for unit, each in machine.standing().items() if each.state == "running"}


def test_small_jobs_never_starve_a_big_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = Pretended(monkeypatch)
    machine = Machine("sweep", tmp_path, [Gpu(0, 20.0), Gpu(1, 20.0)], reserve=0.0)
    small = [parcel(f"s{number:02}", mem_gb=8) for number in range(30)]
    machine.submit([*small[:4], parcel("big", mem_gb=18), *small[4:]], lambda given: given)  # type: ignore
    assert running(machine) == {"s00", "s01", "s02", "s03"}
    ended: list[str] = []
    while "big" not in running(machine):  # one small job after the other ends; the next begins where big does not wait
        ended.append(next(name for name in sorted(running(machine)) if name.startswith("s")))
        pretended.jobs[ended[-1]].ended = True
        assert len(ended) <= 4, "starved"
    assert len(running(machine)) == 3  # the other GPU went on meanwhile
    assert machine.ends()["s00"] == End("0", "KILLED", None, os.uname().nodename, "no-log")
