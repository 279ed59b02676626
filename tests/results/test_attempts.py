"""Traces of attempts: what the environment says of them, which of them use up a limit, what a torn one becomes."""

from pathlib import Path

import pytest

from results.attempts import ATTEMPTS, LIMIT, Attempt, Cause, Traces, begun, spent

KEY = "a" * 32


def ended(*causes: Cause, reached: str = "") -> list[Attempt]:
    return [begun(KEY, number + 1, "here", reached).ended_by(cause) for number, cause in enumerate(causes)]


def test_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "BOB_LOG"):
        monkeypatch.delenv(name, raising=False)
    alone = begun(KEY, 1, "here")
    assert (alone.job, alone.restart, alone.log, alone.cause) == ("", 0, "", None)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert begun(KEY, 1, "here").job == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    monkeypatch.setenv("BOB_LOG", "/logs/7_3.out")
    of_an_array = begun(KEY, 1, "here")
    assert (of_an_array.job, of_an_array.restart, of_an_array.log) == ("7_3", 2, "/logs/7_3.out")
    assert of_an_array.token != alone.token


@pytest.mark.parametrize(
    ("causes", "counted"),
    [
        (("killed", "lost"), 0),
        (("killed", "lost", "node lost"), 3),
        (("out of memory", "input/output", "killed", "killed"), 4),
        (("preempted", "stopped", "time limit", "cancelled", "done", "killed", "killed"), 0),
        (("error", "diverged", "changed", "killed"), 0),
    ],
)
def test_only_ends_without_an_outcome_use_up_the_limit(causes: tuple[Cause, ...], counted: int) -> None:
    assert len(spent(ended(*causes), environment={LIMIT: str(ATTEMPTS)})) == counted


def test_no_limit_where_nobody_asks_for_one() -> None:
    assert spent(ended(*["killed"] * 50), environment={}) == []


def test_neither_the_forgiven_count_nor_those_that_came_further() -> None:
    limit = {LIMIT: "3"}
    killed = ended("killed", "killed", "killed")
    assert len(spent(killed, environment=limit)) == 3
    assert spent([killed[0].model_copy(update={"forgiven": True}), *killed[1:]], environment=limit) == []
    further = ended("killed", "killed", "killed", reached="checkpoint 1")
    assert spent(killed + further, "checkpoint 2", limit) == []
    assert spent(killed + further, "checkpoint 1", limit) == further


def test_a_torn_trace_is_an_attempt_of_which_nothing_is_known(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    (tmp_path / KEY).mkdir()
    first = begun(KEY, 1, "here").ended_by("killed")
    traces.rewrite(first)
    traces.path(KEY, 2).write_text(begun(KEY, 2, "here").model_dump_json()[:20])
    (tmp_path / KEY / ".000003.json-left").touch()
    whole, torn = traces.read(KEY)
    assert whole == first
    assert (torn.number, torn.token, torn.machine, torn.cause) == (2, "", "", None)


def test_what_cannot_be_rewritten_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traces, attempt = Traces(tmp_path), begun(KEY, 1, "here")
    (tmp_path / KEY).mkdir()
    traces.rewrite(attempt)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space"):
            traces.rewrite(attempt.ended_by("error"))
    assert traces.read(KEY) == [attempt]
    assert [path.name for path in (tmp_path / KEY).iterdir()] == ["000001.json"]


def test_a_cell_that_its_jobs_have_no_time_for_is_not_tried_for_ever() -> None:
    limit = {LIMIT: "3"}
    stopped = ended(*["stopped", "preempted"] * 5)
    assert spent(stopped[:-1], environment=limit) == []
    assert spent(stopped, environment=limit) == stopped
    assert spent(stopped, environment={}) == []
    assert spent(stopped, "checkpoint 1", limit) == [], "it has come further since"
