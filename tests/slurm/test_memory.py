"""Kills for memory are read where control groups count them, in the group itself or one around it."""

from pathlib import Path

from slurm.memory import kills_for_memory


def write(group: Path, kills: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 3\noom_kill {kills}\n")


def test_the_most_of_the_groups_a_process_is_in(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("1:name=systemd:/other\n0::/slurm/job_7\n")
    assert kills_for_memory(tmp_path / "groups", membership) == 0
    write(tmp_path / "groups" / "slurm" / "job_7", 2)
    assert kills_for_memory(tmp_path / "groups", membership) == 2
    write(tmp_path / "groups" / "slurm", 5)
    assert kills_for_memory(tmp_path / "groups", membership) == 5
    write(tmp_path / "groups" / "slurm" / "job_8", 9)
    assert kills_for_memory(tmp_path / "groups", membership) == 5


def test_nobody_counts(tmp_path: Path) -> None:
    assert kills_for_memory(tmp_path, tmp_path / "none") == 0
    assert kills_for_memory() >= 0
