"""SLURM's programs answer in bounded time, and hear nothing of the job that asks."""

import os
import time

import pytest

import slurm.sacct
from slurm.place import UnreachableError
from slurm.sacct import Accounting, Booked
from slurm.tools import Answer, ask
from tests.slurm.pretended import Pretended


def test_an_answer_is_what_was_said() -> None:
    assert ask("sh", "-c", "echo out; echo error >&2; exit 3") == Answer(3, "out\n", "error")


def test_no_answer_in_time() -> None:
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=r"sleep did not answer in 0\.1 s"):
        ask("sleep", "10", seconds=0.1)
    assert time.monotonic() - start < 9


def test_the_job_that_asks_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SQUEUE_FORMAT", "CUDA_VISIBLE_DEVICES", "SLURM_CONF"):
        monkeypatch.setenv(name, "here")
    told = ask("env").out.splitlines()
    assert "SLURM_CONF=here" in told
    assert not {line for line in told if line.endswith("=here")} - {"SLURM_CONF=here"}
    assert f"PATH={os.environ['PATH']}" in told


@pytest.mark.parametrize("misbehaves", ["exec sleep 10", "exit 1"])
def test_accounting_that_does_not_answer_is_left_alone(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, misbehaves: str
) -> None:
    monkeypatch.setattr(slurm.sacct, "PATIENCE_S", 0.2)
    (pretended.folder / "sacct").write_text(f'#!/bin/sh\necho asked >>"$(dirname "$0")/asked"\n{misbehaves}\n')
    accounting, start = Accounting(), time.monotonic()
    assert [accounting.ends(["7"]) for _ in range(3)] == [{}, {}, {}]
    assert time.monotonic() - start < 9
    assert (pretended.folder / "asked").read_text() == "asked\n"


def test_ends_as_accounting_prints_them(pretended: Pretended) -> None:
    lines = "7_0|COMPLETED|0:0|n1", "7_1|FAILED|3:0|n1", "7_2|NODE_FAIL|1:0|n[1-2]", "7_3|RUNNING|0:0|n3"
    (pretended.folder / "sacct").write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    assert Accounting().ends(["7"]) == {
        "7_0": Booked("COMPLETED", 0, "n1"),
        "7_1": Booked("FAILED", 3, "n1"),
        "7_2": Booked("NODE_FAIL", 1, "n[1-2]"),
    }
