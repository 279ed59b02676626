"""Which GPUs there are and which of them a job gets, with a pretended nvidia-smi and chance."""

import random
from pathlib import Path

import pytest

from slurm.gpus import Gpu, Room, detect_gpus
from slurm.resources import Resources

TWO = "0, GPU-aa11, 81920, 1024\n1, GPU-bb22, 24576, 0\n"


def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int = 0) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {code}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def ask(gpus: int = 1, mem_gb: float | None = None, cpus: int = 4, nodes: int = 1) -> Resources:
    return Resources(gpus_per_node=gpus, mem_gb=mem_gb, cpus_per_task=cpus, nodes=nodes)


def test_free_memory_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend(tmp_path, monkeypatch, TWO)
    assert detect_gpus() == [Gpu(0, 79.0), Gpu(1, 24.0)]
    pretend(tmp_path, monkeypatch, "0, GPU-aa11, [N/A], [N/A]\n")
    assert detect_gpus() == [Gpu(0, 0.0)]


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend(tmp_path, monkeypatch, "NVIDIA-SMI has failed because it could not communicate, with the, driver", 9)
    assert detect_gpus() == []
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert detect_gpus() == []


@pytest.mark.parametrize(
    ("visible", "indices"),
    [("1", [1]), ("1,0", [1, 0]), ("GPU-bb22", [1]), ("GPU-bb, 0", [1, 0]), ("", []), ("-1", []), ("0,-1,1", [0])],
)
def test_only_visible_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, indices: list[int]) -> None:
    pretend(tmp_path, monkeypatch, TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in detect_gpus()] == indices


def test_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    with pytest.raises(ValueError, match=r"no '2', but 0 \(GPU-aa11\), 1 \(GPU-bb22\)"):
        detect_gpus()


def test_by_memory() -> None:
    """Of 20 GB each: 9 and 9 share one; a job goes where it fits best; a whole one waits for an idle GPU."""
    room = Room([Gpu(0, 20), Gpu(3, 20)], cpus=2, reserve=0.0)
    assert room.find(ask(mem_gb=9)) == (0,)
    room.take(ask(mem_gb=9), (0,))
    assert room.find(ask(mem_gb=9)) == (0,)
    assert room.find(ask(mem_gb=12)) == (3,)
    assert room.find(ask()) == (3,)
    assert room.find(ask(gpus=2, mem_gb=9)) == (0, 3)
    assert room.find(ask(gpus=2)) is None
    room.take(ask(mem_gb=9), (0,))
    assert room.find(ask(mem_gb=3), kept=(3,)) is None
    room.take(ask(), (3,))
    assert room.find(ask(mem_gb=0.5)) == (0,)
    assert room.soonest(ask()) == (0,)
    room.give_back(ask(), (3,))
    assert room.find(ask(mem_gb=20)) == (3,)


def test_more_than_any_has_is_a_whole_one_of_the_largest() -> None:
    room = Room([Gpu(0, 24), Gpu(1, 80), Gpu(2, 24)], cpus=2, reserve=0.1)
    assert room.find(ask(mem_gb=500)) == (1,)
    assert room.find(ask(mem_gb=75)) == (1,)  # 72 GB are left for use
    room.take(ask(mem_gb=1), (1,))
    assert room.find(ask(mem_gb=75)) is None
    assert room.find(ask()) == (0,)


def test_memory_that_is_not_told_takes_one_job() -> None:
    room = Room([Gpu(0, 0.0)], cpus=2, reserve=0.1)
    for resources in (ask(), ask(mem_gb=4)):
        assert room.find(resources) == (0,)
        room.take(resources, (0,))
        assert room.find(ask()) is room.find(ask(mem_gb=1)) is None
        room.give_back(resources, (0,))


def test_jobs_without_a_gpu_share_the_processors() -> None:
    room = Room([], cpus=8, reserve=0.1)
    for _ in range(2):
        assert room.find(ask(0, cpus=4)) == ()
        room.take(ask(0, cpus=4), ())
    assert room.find(ask(0, cpus=1)) is None
    room.give_back(ask(0, cpus=4), ())
    room.give_back(ask(0, cpus=4), ())
    assert room.find(ask(0, cpus=64)) == ()


def test_what_can_never_start() -> None:
    room = Room([Gpu(0, 8)], cpus=8, reserve=0.1)
    assert "gpus_per_node=2, and this machine has 1" in str(room.refusal(ask(2)))
    assert "2 nodes" in str(room.refusal(ask(nodes=2)))
    assert room.refusal(ask(1, mem_gb=1000)) is None


@pytest.mark.parametrize("seed", range(10))
def test_no_gpu_ever_has_more_than_fits(seed: int) -> None:
    chance = random.Random(seed)
    gpus = {index: chance.choice([16.0, 24.0, 80.0]) for index in range(4)}
    room = Room([Gpu(*gpu) for gpu in gpus.items()], cpus=8, reserve=0.1)
    jobs: list[tuple[Resources, tuple[int, ...]]] = []
    started = 0
    for _ in range(2000):
        resources = ask(chance.randint(1, 3), chance.choice([None, chance.uniform(0.1, 100)]))
        where = room.find(resources)
        if where is not None:
            assert len(set(where)) == resources.gpus_per_node
            room.take(resources, where)
            jobs.append((resources, where))
            started += 1
        elif jobs:
            room.give_back(*jobs.pop(chance.randrange(len(jobs))))
        for index, memory in gpus.items():
            here = [job.mem_gb for job, where in jobs if index in where]
            assert len(here) <= 1 or sum(each or 1000 for each in here) <= 0.9 * memory + 1e-6
    assert started > 500
