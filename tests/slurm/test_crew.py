"""A job's processes know their places, and hear what the first one calls, in its order."""

import threading
from pathlib import Path

import pytest

from slurm.crew import Crew, Turns, crew


def test_alone_outside_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert crew() == Crew(0, 1, 1, "")
    assert crew().leads


def test_places_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"STEP_NUM_TASKS": "4", "PROCID": "3", "STEP_NUM_NODES": "2", "JOB_ID": "17", "RESTART_COUNT": "1"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert crew() == Crew(3, 4, 2, "17-1")
    assert not crew().leads


def test_turns_are_heard_in_order_to_the_end(tmp_path: Path) -> None:
    heard: list[list[str]] = [[], []]
    listeners = [
        threading.Thread(target=lambda mine=mine: mine.extend(Turns(tmp_path / "turns").heard()), daemon=True)
        for mine in heard
    ]
    for listener in listeners:
        listener.start()
    leader = Turns(tmp_path / "turns")
    for name in ("b", "a", "b"):
        leader.call(name)
    leader.end()
    for listener in listeners:
        listener.join(10)
    assert heard == [["b", "a", "b"]] * 2
