"""On a real SLURM: jobs that end in every way, and launchers that look twice."""

import json
import math
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.job_log import last_words
from slurm.parcel import Parcel
from slurm.profile import Profile
from slurm.resources import Resources
from slurm.tools import ask
from tests.slurm.chores import SMALL, Chore

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180, func_only=True)]  # others have the cluster before
SCRIPT = Path(__file__).parents[3] / "shared" / "slurm" / "start-cluster"


class Sweep:
    """A place of its own name, and a folder where its jobs leave notes."""

    def __init__(self, folder: Path, parallel: int = 100) -> None:
        self.folder = folder / f"test-{secrets.token_hex(4)}"
        self.folder.mkdir()
        self.place = Cluster(self.folder.name, self.folder / "sweep", Profile(parallel=parallel, signal_s=30))

    def submit(self, *units: str, resources: Resources = SMALL) -> None:
        """A job a unit."""
        self.place.submit([Parcel((unit,), resources) for unit in units], lambda parcel: Chore(self.folder, parcel))

    def notes(self, unit: str) -> list[dict[str, str]]:
        """The environment of each process that began it."""
        file = self.folder / f"{unit}.txt"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def until(self, ready: Callable[[], object], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, (self.place.standing(), self.place.ends())
            time.sleep(0.1)

    def until_over(self, *units: str) -> None:
        self.until(lambda: not set(units) & set(self.place.standing()))


@pytest.fixture
def sweep(cluster: str, tmp_path: Path) -> Iterator[Sweep]:
    """Its jobs end with the test."""
    sweep = Sweep(tmp_path)
    yield sweep
    sweep.place.cancel()


def test_every_end_is_seen_and_told(sweep: Sweep) -> None:
    units = ("pass-1", "error-1", "exit-1", "sleep-1")
    sweep.submit(*units)
    jobs = {unit: stands.job for unit, stands in sweep.place.standing().items()}
    assert set(jobs) == set(units)
    sweep.submit(*units)
    assert {unit: stands.job for unit, stands in sweep.place.standing().items()} == jobs
    sweep.until_over("pass-1", "error-1", "exit-1")
    sweep.until(lambda: sweep.notes("sleep-1"))
    assert sweep.place.standing()["sleep-1"].state == "running"
    assert sweep.place.cancel(["sleep-1", "pass-1"]) == 1
    sweep.until_over("sleep-1")
    assert [len(sweep.notes(unit)) for unit in units] == [1, 1, 1, 1]

    ends = sweep.place.ends()
    states = {"pass-1": "COMPLETED", "error-1": "FAILED", "exit-1": "FAILED", "sleep-1": "CANCELLED"}
    assert {unit: end.state for unit, end in ends.items()} == states
    assert {unit: end.job for unit, end in ends.items()} == jobs
    assert "ValueError: this deed is an error" in Path(ends["error-1"].log).read_text()
    sweep.until(lambda: sweep.place.ends()["exit-1"].exit_code == 3)  # the database may be seconds late
    assert sweep.place.ends()["pass-1"].exit_code == 0

    assert {unit: words.state for unit in units if (words := last_words(Path(ends[unit].log)))} == states
    poorer = Cluster(sweep.place.job_name, sweep.place.folder, Profile())
    poorer._accounting._rest_until = math.inf
    assert {unit: end.state for unit, end in poorer.ends().items()} == states


def test_one_pending_element_is_cancelled_by_hand(sweep: Sweep) -> None:
    sweep.place.profile = Profile(parallel=1)
    sweep.submit("sleep-1", "pass-2", "pass-3")
    sweep.until(lambda: sweep.notes("sleep-1"))
    stands = sweep.place.standing()
    assert [stands[unit].state for unit in ("sleep-1", "pass-2", "pass-3")] == ["running", "queued", "queued"]
    assert stands["pass-2"].reason == "JobArrayTaskLimit"
    subprocess.run(["scancel", stands["pass-2"].job], check=True)
    sweep.until_over("pass-2")
    assert set(sweep.place.standing()) == {"sleep-1", "pass-3"}
    assert sweep.place.ends()["pass-2"].state in ("CANCELLED", "unknown")
    sweep.submit("pass-2", "pass-3")
    sweep.place.cancel(["sleep-1"])
    sweep.until_over("pass-2", "pass-3")
    assert [len(sweep.notes(unit)) for unit in ("sleep-1", "pass-2", "pass-3")] == [1, 1, 1]


def test_preempted_jobs_stand_until_they_ran_again(sweep: Sweep) -> None:
    sweep.submit("sleep-1")
    sweep.until(lambda: sweep.notes("sleep-1"))
    (first,) = sweep.notes("sleep-1")
    job = sweep.place.standing()["sleep-1"].job
    urgent = ("-p", "urgent", "-w", first["SLURM_JOB_NODELIST"], "--exclusive", "--output=/dev/null", "--wrap", "true")
    assert ask("sbatch", *urgent).code == 0

    def again() -> bool:
        assert sweep.place.standing()["sleep-1"].job == job
        assert sweep.place.ends() == {}
        return len(sweep.notes("sleep-1")) == 2

    sweep.until(again)
    assert sweep.notes("sleep-1")[1]["SLURM_RESTART_COUNT"] == "1"


SUBMIT_AND_DIE = """
import os, signal, sys
from pathlib import Path
import slurm.cluster
from tests.slurm.test_cluster import Sweep
sweep = Sweep.__new__(Sweep)
sweep.folder = Path(sys.argv[1])
sweep.place = slurm.cluster.Cluster(sweep.folder.name, sweep.folder / "sweep", slurm.cluster.Profile())
def killed(*command, ask=slurm.cluster.ask, **options):
    answer = ask(*command, **options)
    if command[:2] == ("sbatch", "--parsable"):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
slurm.cluster.ask = killed
sweep.submit("pass-1", "sleep-1")
"""


def test_a_killed_launcher_s_jobs_run_and_are_found(sweep: Sweep) -> None:
    command = [sys.executable, "-c", SUBMIT_AND_DIE, sweep.folder]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(command, env=environment, timeout=60).returncode == -signal.SIGKILL
    assert '"job"' not in sweep.place.journal.path.read_text()
    assert set(sweep.place.standing()) == {"pass-1", "sleep-1"}
    sweep.submit("pass-1", "sleep-1")
    sweep.until_over("pass-1")
    sweep.until(lambda: sweep.notes("sleep-1"))
    assert (len(sweep.notes("pass-1")), len(sweep.notes("sleep-1"))) == (1, 1)
    assert sweep.place.ends()["pass-1"].state == "COMPLETED"


def test_no_such_partition(sweep: Sweep) -> None:
    wrong = Parcel(("pass-2",), SMALL.model_copy(update={"partition": "nowhere"}))
    with pytest.raises(ValueError, match=r"partition=nowhere.*[Ii]nvalid partition(?s:.*)Nothing of the 2"):
        sweep.place.submit([Parcel(("pass-1",), SMALL), wrong], lambda parcel: Chore(sweep.folder, parcel))
    assert sweep.place.standing() == {}
    assert [path.name for path in (sweep.place.folder / "jobs").iterdir()] == ["lock"]


def test_what_may_wait_for_ever_is_told_of(sweep: Sweep) -> None:
    with pytest.warns(UserWarning, match=r"took 1 job of .*may wait for ever: .*not available"):
        sweep.submit("pass-1", resources=SMALL.model_copy(update={"nodes": 99}))
    sweep.until(lambda: sweep.place.standing()["pass-1"].reason == "PartitionConfig")


def test_more_units_than_an_array_may_have(sweep: Sweep) -> None:
    sweep.place.profile = Profile(parallel=2)
    units = [f"sleep-{number}" for number in range(1100)]
    sweep.submit(*units)
    stands = sweep.place.standing()
    assert set(stands) == set(units)
    sweep.place.profile = Profile(parallel=6)
    sweep.submit()
    for array in {each.job.partition("_")[0] for each in stands.values()}:
        assert "ArrayTaskThrottle=3" in ask("scontrol", "show", "job", array).out
    assert sweep.place.cancel(units[100:]) == 1000
    sweep.until_over(*units[100:])
    assert set(sweep.place.standing()) == set(units[:100])


def test_submitting_from_inside_a_job(sweep: Sweep) -> None:
    sweep.submit("launch-1", resources=SMALL.model_copy(update={"gpus_per_node": 1}))
    sweep.until(lambda: sweep.notes("pass-inner"))
    (outer,), (inner,) = sweep.notes("launch-1"), sweep.notes("pass-inner")
    assert outer["SLURM_JOB_ID"] != inner["SLURM_JOB_ID"]
    assert "CUDA_VISIBLE_DEVICES" in outer
    assert "CUDA_VISIBLE_DEVICES" not in inner
    sweep.until_over("launch-1")
    assert sweep.place.ends()["launch-1"].state == "COMPLETED"


def test_processes_of_a_job_on_two_nodes_know_where_to_meet(sweep: Sweep) -> None:
    sweep.submit("pass-1", resources=SMALL.model_copy(update={"nodes": 2, "gpus_per_node": 1}))
    sweep.until_over("pass-1")
    first, second = sorted(sweep.notes("pass-1"), key=lambda each: each["SLURM_PROCID"])
    assert (first["SLURM_PROCID"], second["SLURM_PROCID"], first["SLURM_NTASKS"]) == ("0", "1", "2")
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] == first["SLURM_TOPOLOGY_ADDR"]
    assert first["SLURM_TOPOLOGY_ADDR"] != second["SLURM_TOPOLOGY_ADDR"]
    assert 20000 <= int(first["MASTER_PORT"]) == int(second["MASTER_PORT"]) < 30000
    assert sweep.place.ends()["pass-1"].state == "COMPLETED"


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.exists(), reason=f"a node is lost by {SCRIPT}")
def test_a_lost_node_s_job_stands_and_runs_again(sweep: Sweep) -> None:
    sweep.submit("sleep-1")
    sweep.until(lambda: sweep.notes("sleep-1"))
    node = sweep.notes("sleep-1")[0]["SLURM_JOB_NODELIST"].rpartition(".")[2]
    environment = {**os.environ, "SLURM_TEST_DIR": str(Path(os.environ["SLURM_CONF"]).parent)}
    subprocess.run([SCRIPT, "crash-node", node], env=environment, check=True)
    try:
        sweep.until(lambda: len(sweep.notes("sleep-1")) == 2, seconds=120)
        assert sweep.place.standing()["sleep-1"].state == "running"
        assert sweep.place.ends() == {}
    finally:
        subprocess.run([SCRIPT, "start"], env=environment, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_job_at_its_time_limit_stands_and_runs_again(sweep: Sweep) -> None:
    sweep.submit("sleep-1", resources=SMALL.model_copy(update={"time_min": 2}))
    job = sweep.place.standing()["sleep-1"].job
    sweep.until(lambda: len(sweep.notes("sleep-1")) == 2, seconds=170)
    assert sweep.place.standing()["sleep-1"].job == job
    assert sweep.notes("sleep-1")[1]["SLURM_RESTART_COUNT"] == "1"
