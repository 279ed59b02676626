"""What a cluster is given and how often, with SLURM's programs pretended: no job runs, and all can be made to fail."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.parcel import Parcel
from slurm.place import Place, UnreachableError, Work
from slurm.profile import Profile
from slurm.resources import Resources
from tests.slurm.pretended import Pretended

ONE, OTHER = Resources(), Resources(mem_gb=2)


def parcels(count: int, resources: Resources = ONE, start: int = 0) -> list[Parcel]:
    return [Parcel((f"unit-{number}",), resources) for number in range(start, start + count)]


def nothing(parcel: Parcel) -> Work:
    return list


@pytest.fixture
def place(pretended: Pretended, tmp_path: Path) -> Cluster:
    return Cluster("sweep", tmp_path / "sweep", Profile(parallel=10))


def folders(place: Cluster) -> list[str]:
    return sorted(path.name for path in (place.folder / "jobs").iterdir() if path.is_dir())


def test_is_a_place(place: Cluster) -> None:
    assert isinstance(place, Place)


def test_arrays_are_cut_below_the_limit_on_their_index(place: Cluster, pretended: Pretended) -> None:
    place.submit(parcels(1100), nothing)
    assert [size for size, _ in pretended.arrays] == [100, 1000] or [size for size, _ in pretended.arrays] == [
        1000,
        100,
    ]
    assert set(place.standing()) == {f"unit-{number}" for number in range(1100)}


def test_equal_resources_make_an_array_and_share_what_may_run(place: Cluster, pretended: Pretended) -> None:
    place.submit([*parcels(3), *parcels(40, OTHER, start=3), *parcels(2, start=43)], nothing)
    assert [size for size, _ in pretended.arrays] == [5, 40]
    scripts = [path.read_text() for path in (place.folder / "jobs").glob("*/submit.sh")]
    assert sorted(line for text in scripts for line in text.splitlines() if "--array" in line) == [
        "#SBATCH --array=0-39%5",
        "#SBATCH --array=0-4%5",
    ]


def test_more_arrays_than_may_run_wait_for_each_other(pretended: Pretended, tmp_path: Path) -> None:
    place = Cluster("sweep", tmp_path / "sweep", Profile(parallel=2))
    place.submit([*parcels(1), *parcels(1, OTHER, 1), *parcels(1, Resources(cpus_per_task=2), 2)], nothing)
    assert [options for _, options in pretended.arrays] == [
        "--parsable",
        "--parsable",
        "--parsable --dependency=afterany:1",
    ]


def test_what_may_run_is_shared_with_what_stands(place: Cluster, pretended: Pretended) -> None:
    place.submit(parcels(40), nothing)
    place.submit(parcels(3, start=40), nothing)
    assert (pretended.folder / "updates").read_text() == "JobId=1 ArrayTaskThrottle=7\n"
    place.profile = Profile(parallel=20)
    place.submit([], nothing)
    assert (pretended.folder / "updates").read_text().splitlines()[1:] == [
        "JobId=1 ArrayTaskThrottle=17",
        "JobId=2 ArrayTaskThrottle=3",
    ]
    place.profile = Profile(parallel=2)
    place.submit(parcels(1, start=43), nothing)
    assert pretended.arrays[2] == (1, "--parsable --dependency=afterany:1")


def test_what_stands_is_not_given_again(place: Cluster, pretended: Pretended, tmp_path: Path) -> None:
    place.submit(parcels(3), nothing)
    given: list[Parcel] = []

    def remember(parcel: Parcel) -> Work:
        given.append(parcel)
        return list

    another = Cluster("sweep", tmp_path / "sweep", Profile())
    another.submit([Parcel(("unit-1", "new", "new"), ONE), Parcel(("unit-2",), ONE), Parcel(("new",), ONE)], remember)
    assert given == [Parcel(("new",), ONE)]
    assert [size for size, _ in pretended.arrays] == [3, 1]
    another.submit(parcels(3), remember)
    assert len(given) == 1


def test_jobs_of_another_sweep_of_that_name_are_not_ours(place: Cluster, tmp_path: Path) -> None:
    Cluster("sweep", tmp_path / "elsewhere", Profile()).submit(parcels(2), nothing)
    assert place.standing() == {}
    assert place.cancel() == 0


def test_refused_with_the_scheduler_s_words_and_nothing_is_left(place: Cluster, pretended: Pretended) -> None:
    pretended.set("refusal", "sbatch: error: invalid partition specified: nowhere")
    with pytest.raises(ValueError, match=r"partition=nowhere.*invalid partition specified: nowhere.*sinfo"):
        place.submit(parcels(3, Resources(partition="nowhere")), nothing)
    assert (folders(place), place.standing(), place.ends()) == ([], {}, {})
    pretended.set("refusal", None)
    place.submit(parcels(3), nothing)
    assert len(place.standing()) == 3


def test_what_was_taken_before_a_refusal_is_cancelled(place: Cluster, pretended: Pretended) -> None:
    program = pretended.folder / "sbatch"
    refusal = 'grep -q "mem=2048M" "$script" && { echo "job submit limit" >&2; exit 1; }\nlast='
    program.write_text(program.read_text().replace("last=", refusal, 1))
    with pytest.raises(ValueError, match="job submit limit; raise job_min"):
        place.submit([*parcels(3), *parcels(3, OTHER, start=3)], nothing)
    assert (pretended.arrays, place.standing()) == ([], {})


def test_what_sbatch_doubts_is_tried_first_and_told_of(place: Cluster, pretended: Pretended) -> None:
    pretended.set("doubt", "mem=2048M")
    with pytest.warns(UserWarning, match=r"took 2 jobs of .*mem_gb=2.*wait for ever: not available") as warned:
        place.submit([*parcels(3), *parcels(2, OTHER, start=3)], nothing)
    assert [size for size, _ in pretended.arrays] == [2, 3]
    assert len(warned) == 1


def test_nothing_is_concluded_of_a_silent_controller(place: Cluster, pretended: Pretended) -> None:
    place.submit(parcels(3), nothing)
    pretended.set("unreachable", "")
    for ask in (place.standing, place.cancel, lambda: place.submit(parcels(4), nothing)):
        with pytest.raises(UnreachableError, match="Unable to contact"):
            ask()
    assert place.ends() == {}
    assert len(pretended.arrays) == 1


def test_no_slurm_here(place: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnreachableError, match=r"no squeue here.*login node"):
        place.submit(parcels(1), nothing)


def test_an_answer_that_never_came_is_looked_for_in_the_queue(place: Cluster, pretended: Pretended) -> None:
    pretended.set("silence", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    place.submit(parcels(3), nothing)
    place.submit(parcels(3), nothing)
    assert [size for size, _ in pretended.arrays] == [3]


def test_work_that_cannot_be_pickled_leaves_nothing(place: Cluster) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        place.submit(
            [*parcels(2), *parcels(2, OTHER, 2)], lambda parcel: lock.acquire if parcel.resources == OTHER else list
        )
    assert folders(place) == []


SUBMIT = """
import os, signal, sys
from pathlib import Path
import slurm.cluster
from slurm.cluster import Cluster
from slurm.parcel import Parcel
from slurm.profile import Profile
from slurm.resources import Resources
moment, ask = sys.argv[2], slurm.cluster.ask
def killed(*command, **options):
    submits = command[:2] == ("sbatch", "--parsable")
    if submits and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = ask(*command, **options)
    if submits and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
slurm.cluster.ask = killed
parcels = [Parcel((f"unit-{number}",), Resources()) for number in range(3)]
Cluster("sweep", Path(sys.argv[1]), Profile()).submit(parcels, lambda _: list)
"""


@pytest.mark.parametrize(("moment", "stands"), [("before", 0), ("after", 3)])
def test_launcher_killed_around_submission(place: Cluster, pretended: Pretended, moment: str, stands: int) -> None:
    killed = subprocess.run([sys.executable, "-c", SUBMIT, place.folder, moment], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(place.standing()) == stands
    place.submit(parcels(3), nothing)
    assert [size for size, _ in pretended.arrays] == [3]


def test_launcher_killed_while_sbatch_is_under_way_is_waited_for(place: Cluster, pretended: Pretended) -> None:
    pretended.set("slow", "2")
    with subprocess.Popen([sys.executable, "-c", SUBMIT, place.folder, "never"]) as launcher:
        _until(lambda: place.journal.path.exists())
        launcher.kill()
    place.submit(parcels(3), nothing)
    assert [size for size, _ in pretended.arrays] == [3]


def test_launchers_at_the_same_time(place: Cluster, pretended: Pretended) -> None:
    pretended.set("slow", "0.2")
    launchers = [subprocess.Popen([sys.executable, "-c", SUBMIT, place.folder, "never"]) for _ in range(3)]
    assert [launcher.wait(60) for launcher in launchers] == [0, 0, 0]
    assert [size for size, _ in pretended.arrays] == [3]


def test_the_script_says_what_was_asked_for(pretended: Pretended, tmp_path: Path) -> None:
    profile = Profile(setup=["module load cuda"], python="apptainer exec x.sif python", signal_s=600)
    asked = Resources(
        partition="p", account="a", qos="q", constraint="h100", time_min=15, mem_gb=1.5, cpus_per_task=3,
        gpus_per_node=2, nodes=2,
    )  # fmt: skip
    folder = tmp_path / "a folder"
    Cluster("näme, of it", folder, profile, {"A_PATH": "x y"}).submit(parcels(2, asked), nothing)
    (script,) = (folder / "jobs").glob("*/submit.sh")
    text = script.read_text()
    for words in (
        "--array=0-1%2", "--partition=p", "--account=a", "--qos=q", "--constraint=h100", "--time=15", "--mem=1536M",
        "--cpus-per-task=3", "--gpus-per-node=2", "--nodes=2", "--ntasks-per-node=2", "--signal=USR2@300", "--requeue",
        "--job-name=n-me--of-it", f"--comment={script.parent.name}",
    ):  # fmt: skip
        assert f"#SBATCH {words}\n" in text
    assert text.index("module load cuda") < text.index("export A_PATH='x y'") < text.index("srun")
    assert "--kill-on-bad-exit=1 --cpus-per-task=3 apptainer exec x.sif python -u -m submitit.core._submit" in text
    assert "wckey" not in text


def test_a_percent_sign_in_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'%'"):
        Cluster("sweep", tmp_path / "100%", Profile())


def test_cancel_by_unit_ends_its_job(place: Cluster, pretended: Pretended) -> None:
    place.submit([Parcel(("a", "b"), ONE), *parcels(2, OTHER)], nothing)
    assert place.cancel(["b"]) == 1
    assert set(place.standing()) == {"unit-0", "unit-1"}
    assert place.ends()["a"].state == "unknown"
    assert place.cancel() == 2
    assert (pretended.folder / "cancelled").read_text().split() == ["1", "2"]  # whole arrays, not an element each
    assert place.standing() == {}


def test_journal_is_json_lines(place: Cluster) -> None:
    place.submit(parcels(1), nothing)
    intent, answer = map(json.loads, place.journal.path.read_text().splitlines())
    assert intent == {"submission": folders(place)[0], "units": [["unit-0"]]}
    assert answer == {"submission": folders(place)[0], "job": "1"}


def _until(ready: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)
